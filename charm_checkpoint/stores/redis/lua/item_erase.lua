-- Remove all items of a space; return how many there were, and under which token it is listed.
local token = ARGV[2]

local before = done_before(token)
if before then
  return {tonumber(before), ''}
end
local count = call('HLEN', R)
if call('UNLINK', R, S, E, V, A, O, X) == 0 then
  return {0, ''}
end
stamp, removes = stamp + 1, true
local emptied = keep('')
remember(token, count)
return {count, emptied}
