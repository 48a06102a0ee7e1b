-- Return matches of a thread, last committed first. A page may be short, even empty, and not the last: what one
-- call looks at is bounded.
local after, size, ns, id, before, tags, run, with_writes, have, elsewhere, nested = unpack(ARGV, 3, 13)
local LOOKED_AT, BATCH = 4000, 100
-- Texts are optional: '' is none, else they have a byte before them.
local function given(text)
  return text ~= '' and text:sub(2) or nil
end
ns, id, before, run = given(ns), given(id), given(before), given(run)

local deletes, sweeps, seq = counters(H)
local names = spaces()
local only = ns and place(ns)
local bound = after ~= '' and tonumber(after) or nil
local below

-- Return a bound as text that means just this number: with less, a page would begin where the last one did.
local function exact(number)
  return string.format('%.17g', number)
end

-- Bytewise, whatever the server's locale says.
local function is_below(a, b)
  for at = 1, math.min(#a, #b) do
    if a:byte(at) ~= b:byte(at) then
      return a:byte(at) < b:byte(at)
    end
  end
  return #a < #b
end

if before then
  -- The commits of two threads have no order: for a checkpoint of another one, ids decide.
  local last
  for space in pairs(elsewhere == '1' and {} or names) do
    local score = tonumber(call('ZSCORE', O, space .. before) or nil)
    if score and (not last or score > last) then
      last = score
    end
  end
  if not last then
    below = before
  elseif not bound or last < bound then
    bound = last
  end
end

local items, chunks, seen, bytes = {}, {}, known(have), 0

local function matches(member, row)
  if (only and member:sub(1, 3) ~= only) or (id and member:sub(4) ~= id) then
    return false
  end
  if below and not is_below(member:sub(4), below) then
    return false
  end
  local _, _, ran, marks = parts(row)
  if run and ran ~= run then
    return false
  end
  return has_all(marks, tags) and (marks:sub(1, 4) ~= 'deep' or has_all(marks, nested))
end

local function add(member, score, row)
  local writes = {}
  if with_writes == '1' then
    writes = writes_of(member)
    local _, _, _, _, roots = parts(row)
    bytes = reached(K, roots, seen, chunks, bytes)
    for _, body in ipairs(writes) do
      bytes = bytes + #body
    end
  end
  bytes = bytes + #row
  items[#items + 1] = {names[member:sub(1, 3)], member:sub(4), score, row, writes}
end

local function candidates()
  if not id then
    return call('ZREVRANGEBYSCORE', O, bound and '(' .. exact(bound) or '+inf', '-inf', 'WITHSCORES', 'LIMIT', 0, BATCH)
  end
  local found = {}
  for space in pairs(names) do
    local score = tonumber(call('ZSCORE', O, space .. id) or nil)
    if score and (not bound or score < bound) then
      found[#found + 1] = {space .. id, score}
    end
  end
  table.sort(found, function(a, b) return a[2] > b[2] end)
  local flat = {}
  for at = 1, math.min(#found, BATCH) do
    flat[2 * at - 1], flat[2 * at] = unpack(found[at])
  end
  return flat
end

local looked_at, next_bound = 0, false
while not (ns and not only) do
  local batch = candidates()
  if #batch == 0 then
    break
  end
  for at = 1, #batch, 2 do
    if #items >= tonumber(size) or looked_at >= LOOKED_AT or bytes >= REPLY_BYTES then
      next_bound = exact(bound)
      break
    end
    local member, score = batch[at], batch[at + 1]
    local row = call('HGET', C, member)
    if matches(member, row) then
      add(member, score, row)
    end
    looked_at, bound = looked_at + 1, tonumber(score)
  end
  if next_bound then
    break
  end
end
if #items > 0 then
  keep_alive_if_allowed()
end
local alive = (not is_empty() or call('HEXISTS', M, 'y') == 1) and 1 or 0
return {deletes, sweeps, seq, call('HGET', H, 't'), next_bound, items, chunks, alive}
