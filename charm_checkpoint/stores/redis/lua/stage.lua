-- Put items down for a call that is to come; if it never does, they expire.
local stage = KEYS[1]
for at = 3, #ARGV do
  redis.call('RPUSH', stage, ARGV[at])
end
return redis.call('PEXPIRE', stage, 600000)
