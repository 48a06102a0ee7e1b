-- Tell of chunks what they name, in one text: address, refs after their length, and so on. Of the next ones from a cursor
-- on, some `size`; or of those of these addresses that are there, as many as are read in one go. Return where to go on,
-- or how many were looked for; and the bytes that were read.
local cursor, size, addresses = unpack(ARGV, 3, 5)

local found, bytes, next_at = {}, 0, 0
local function take(address, packed)
  found[#found + 1] = address .. packed:sub(1, 3 + number3(packed, 1))
  bytes = bytes + #packed
end
if addresses == '' then
  local some = call('HSCAN', K, cursor, 'COUNT', size)
  for at = 1, #some[2], 2 do
    take(some[2][at], some[2][at + 1])
  end
  return {some[1], bytes, table.concat(found)}
end
while next_at * ADDRESS < #addresses and bytes < REPLY_BYTES / 2 do
  local address = addresses:sub(next_at * ADDRESS + 1, (next_at + 1) * ADDRESS)
  local packed = call('HGET', K, address)
  if packed then
    take(address, packed)
  end
  next_at = next_at + 1
end
return {tostring(next_at), bytes, table.concat(found)}
