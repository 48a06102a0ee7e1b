-- Return chunks by their addresses, address and content alternately, as many as a reply holds; and how many were tried.
local of_messages, addresses = ARGV[3], ARGV[4]

local found, bytes, tried = {}, 0, 0
for at = 1, #addresses, ADDRESS do
  if bytes >= REPLY_BYTES then
    break
  end
  tried = tried + 1
  local address = addresses:sub(at, at + ADDRESS - 1)
  local packed = call('HGET', of_messages == '1' and N or K, address)
  if packed then
    found[#found + 1] = address
    found[#found + 1] = packed
    bytes = bytes + #packed
  end
end
return {tried, found}
