-- Tell whether a space has no item and nobody is about to put the first one: who thinks so is told to list it again.
-- For a while after saying so somebody is left in peace.
local R, I = unpack(KEYS)
local PEACE = 50000
if redis.call('EXISTS', R) == 1 or redis.call('PTTL', I) > PEACE then
  return 0
end
if redis.call('EXISTS', I) == 1 then
  redis.call('UNLINK', I)
end
return 1
