-- Make the items in STAGE this thread's, in their order, unless it has checkpoints; nothing if there are none.
local name, token, title, note, writes_note, now, intent, staged = unpack(ARGV, 3, 10)

local deletes, sweeps, seq, bytes = counters(H)
if again and call('HGET', H, 'x') == token then
  return {'stored', deletes, sweeps, seq}
end
if call('ZCARD', O) > 0 then
  return {'conflict', deletes, sweeps, seq}
end
if staged == '0' then
  return {'stored', deletes, sweeps, seq}
end
if call('LLEN', STAGE) ~= tonumber(staged) then
  return {'unstaged', deletes, sweeps, seq}
end
if is_unlisted(intent) then
  return {'unlisted', deletes, sweeps, seq}
end

local early, runs, heads = {}, {}, {}
local function target(item, at)
  local ns, id
  ns, at = part(item, at)
  id, at = part(item, at)
  return room(place(ns), ns) .. id, at, ns
end

local function take_row(item)
  local member, at, ns = target(item, 2)
  local row = item:sub(at)
  seq = seq + 1
  call('HSET', C, member, row)
  call('ZADD', O, seq, member)
  bytes, heads[ns] = bytes + body_size(row), member
  local _, _, run = parts(row)
  if run ~= '' and not runs[run] then
    runs[run], runs[#runs + 1] = true, run
  end
end

local function take_write(item)
  local member, at = target(item, 5)
  -- The target may hold writes that came before their checkpoint: these go on counting after them.
  early[member] = early[member] or count_writes(member)
  call('HSET', W, text3(early[member] + number3(item, 2)) .. member, item:sub(at))
  bytes = bytes + #item - at + 1
end

local function take_chunk(item)
  if call('HSETNX', K, item:sub(2, ADDRESS + 1), item:sub(ADDRESS + 2)) == 1 then
    bytes = bytes + data_size(item:sub(ADDRESS + 2))
  end
end

clear_remains()
renew(H)
local take = {c = take_row, w = take_write, k = take_chunk}
each_staged(function(item) take[item:sub(1, 1)](item) end)
for ns, member in pairs(heads) do
  call('HSET', H, 'n' .. ns, member)
end
for _, run in ipairs(runs) do
  call('HSET', H, 'r' .. run, token)
end
call('UNLINK', STAGE)
seq = seq + 1
call('HSET', H, 'q', seq, 'b', bytes, 't', name, 'x', token, 'a', now)
take_notes(title, note, writes_note)
fulfil(intent)
keep_alive()
return {'stored', deletes, sweeps, seq}
