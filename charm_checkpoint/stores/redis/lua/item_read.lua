-- Return items that are there, row and value of each, for a batch that does nothing else: it needs little of the space.
local R, A = unpack(KEYS)
local now = tonumber(ARGV[2])
local call = redis.call

local rows = {}
for at = 3, #ARGV do
  local row = call('HGET', R, ARGV[at])
  local expires = row and row:match('^%S* %S* %S* (%S+)')
  local is_there = row and not (expires and tonumber(expires) <= now)
  rows[#rows + 1] = is_there and row
  rows[#rows + 1] = is_there and call('HGET', A, ARGV[at])
end
return {'stored', rows, {}, ''}
