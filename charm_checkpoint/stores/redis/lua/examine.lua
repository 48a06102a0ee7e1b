-- Tell, for a look at damage, which keys of a thread are there and whether they agree: its name, then for each of the
-- seven keys whether it exists, how many rows there are, and how many the order lists; -1 for a key of another type.
local name = redis.pcall('HGET', H, 't')
if type(name) ~= 'string' then
  name = redis.pcall('HGET', M, 't')
end
local function count(...)
  local reply = redis.pcall(...)
  return type(reply) == 'number' and reply or -1
end
local found = {type(name) == 'string' and name or false}
for at = 1, 7 do
  found[#found + 1] = call('EXISTS', KEYS[at])
end
found[#found + 1] = count('HLEN', C)
found[#found + 1] = count('ZCARD', O)
found[#found + 1] = count('HLEN', W)
return found
