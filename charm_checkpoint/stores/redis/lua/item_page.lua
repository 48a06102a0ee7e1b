-- Return items that are not expired and have the tags, by their `updated`: of each key, row, and the value while there
-- is `room` for values, packed; and the bound from which to go on, '' at the end. Those of the same `updated` come
-- together. What one call looks at is bounded, so a page may be short, even empty, and not the last. tags.lua and
-- item_packed.lua come first.
local R, O, A = unpack(KEYS)
local bound, size, now, tags, nested, room, oldest = unpack(ARGV, 2, 8)
local call = redis.call
local LOOKED_AT, BATCH, NESTED = 4000, 100, 'deep'
size, now, room = tonumber(size), tonumber(now), tonumber(room)
local batch = math.min(BATCH, size + 1)

local function is_wanted(row)
  local expires, at = row:match('^%S* %S* %S* (%S*) ()')
  if expires ~= '' and tonumber(expires) <= now then
    return false
  end
  if tags == '' and nested == '' then
    return true
  end
  local marks = row:sub(at)
  return has_all(marks, tags) and (marks:sub(1, 4) ~= NESTED or has_all(marks, nested))
end

local found, count, looked, last = {}, 0, 0, nil

local function take(key, row)
  local value = false
  if room > 0 then
    local length = call('HSTRLEN', A, key)
    value = length <= room and call('HGET', A, key)
    room = room - length
  end
  local at = #found
  found[at + 1], found[at + 2], found[at + 3] = key, row, value
  count = count + 1
end

while true do
  local some
  if oldest == '1' then
    some = call('ZRANGEBYSCORE', O, bound, '+inf', 'WITHSCORES', 'LIMIT', looked, batch)
  else
    some = call('ZREVRANGEBYSCORE', O, bound, '-inf', 'WITHSCORES', 'LIMIT', looked, batch)
  end
  local keys = {}
  for at = 1, #some, 2 do
    keys[#keys + 1] = some[at]
  end
  local rows = #keys > 0 and call('HMGET', R, unpack(keys)) or {}
  for n, key in ipairs(keys) do
    local score = some[2 * n]
    if score ~= last and (count >= size or looked >= LOOKED_AT) then
      return {'(' .. last, packed(found)}
    end
    looked, last = looked + 1, score
    if rows[n] and is_wanted(rows[n]) then
      take(key, rows[n])
    end
  end
  if #keys < batch then
    return {'', packed(found)}
  end
  batch = BATCH
end
