-- Tell of the next checkpoints in commit order, without their bodies: member, run and roots of each, and the number of the
-- last; with the counters, and when a checkpoint was last put in the place of another.
local after, size = ARGV[3], ARGV[4]

local deletes, sweeps, seq = counters(H)
local found, last = {}, false
local members = call('ZRANGEBYSCORE', O, '(' .. after, '+inf', 'WITHSCORES', 'LIMIT', 0, size)
for at = 1, #members, 2 do
  local _, _, run, _, roots = parts(call('HGET', C, members[at]))
  found[#found + 1] = members[at]
  found[#found + 1] = run
  found[#found + 1] = roots
  last = members[at + 1]
end
return {deletes, sweeps, seq, call('HGET', H, 'm') or '', last, found}
