-- Remove checkpoints (namespace and id alternately), their writes, and chunks that nothing reaches any more; not where
-- that would keep the server too long: see sweeping.py.
local expect, now = ARGV[3], ARGV[4]
local FIRST = 5
local LOOKED_AT = 4000

local deletes, sweeps, seq, bytes = counters(H)
if call('HEXISTS', H, 'q') == 0 then
  return {'stored', deletes, sweeps, seq, {}}
end
if expect ~= '' and tonumber(expect) ~= seq then
  return {'changed', deletes, sweeps, seq, {}}
end

if call('ZCARD', O) + call('HLEN', K) + #ARGV > LOOKED_AT then
  return {'large', deletes, sweeps, seq, {}}
end

local function remove_writes(member)
  for at = 0, count_writes(member) - 1 do
    bytes = bytes - call('HSTRLEN', W, text3(at) .. member)
    call('HDEL', W, text3(at) .. member)
  end
end

local touched = {}
for at = FIRST, #ARGV, 2 do
  local ns, id = ARGV[at], ARGV[at + 1]
  local space = place(ns)
  if space then
    touched[space] = ns
    local row = call('HGET', C, space .. id)
    if row then
      bytes = bytes - body_size(row)
      call('HDEL', C, space .. id)
      call('ZREM', O, space .. id)
    end
    remove_writes(space .. id)
  end
end

local last, roots, running = {}, {}, {}
for _, member in ipairs(call('ZRANGE', O, 0, -1)) do
  last[member:sub(1, 3)] = member
  local _, _, run, _, named = parts(call('HGET', C, member))
  roots[#roots + 1] = named
  running[run] = true
end
local emptied = false
for space in pairs(touched) do
  emptied = emptied or not last[space]
end
if emptied then
  for _, field in ipairs(call('HKEYS', W)) do
    local space = field:sub(4, 6)
    if touched[space] and not last[space] then
      bytes = bytes - call('HSTRLEN', W, field)
      call('HDEL', W, field)
    end
  end
end
for space, ns in pairs(touched) do
  if last[space] then
    call('HSET', H, 'n' .. ns, last[space])
  else
    call('HDEL', H, 'n' .. ns, 'N' .. space)
    if ns == '' then
      call('HDEL', H, 'i', 's', 'p')
    end
  end
end

local ended = {}
local all = call('HGETALL', H)
for at = 1, #all, 2 do
  local run = all[at]:sub(2)
  if all[at]:sub(1, 1) == 'r' and not running[run] then
    call('HDEL', H, all[at])
    ended[#ended + 1] = run
    ended[#ended + 1] = all[at + 1]
  end
end
bytes = bytes - sweep(K, roots)
sweeps, seq = sweeps + 1, seq + 1
call('HSET', H, 'w', sweeps, 'q', seq, 'b', bytes, 'a', now)
keep_alive()
return {'stored', deletes, sweeps, seq, ended}
