-- Return a part of a thread for a copy: items, where to go on ('' when all was seen), and the notes for listings.
-- Items: 'c' namespace, id, row; 'w' number, namespace, id, body; 'k' address, content.
local phase, cursor, size = unpack(ARGV, 3, 5)

local _, _, seq = counters(H)
local notes = call('HMGET', H, 'i', 's', 'p')
local names, items = spaces(), {}

local function address_of(member)
  return joined(names[member:sub(1, 3)]) .. joined(member:sub(4))
end

if phase == 'c' then
  local rows = call('ZRANGEBYSCORE', O, '(' .. cursor, '+inf', 'WITHSCORES', 'LIMIT', 0, size)
  for at = 1, #rows, 2 do
    items[#items + 1] = 'c' .. address_of(rows[at]) .. call('HGET', C, rows[at])
  end
  return {seq, #rows == 0 and 'w' or 'c', #rows == 0 and '0' or rows[#rows], items, notes}
end
local found = call('HSCAN', phase == 'w' and W or K, cursor, 'COUNT', size)
for at = 1, #found[2], 2 do
  local field, value = found[2][at], found[2][at + 1]
  if phase == 'w' then
    items[#items + 1] = 'w' .. field:sub(1, 3) .. address_of(field:sub(4)) .. value
  else
    items[#items + 1] = 'k' .. field .. value
  end
end
if found[1] ~= '0' then
  return {seq, phase, found[1], items, notes}
end
return {seq, phase == 'w' and 'k' or '', '0', items, notes}
