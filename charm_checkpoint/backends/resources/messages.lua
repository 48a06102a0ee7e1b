-- Return the message list with its chunks; and whether there ever was one.
local have = ARGV[3]

local _, sweeps, seq = counters(M)
local body, roots, revision = unpack(call('HMGET', M, 'y', 'o', 'r'))
local chunks = {}
if body then
  reached(N, roots, known(have), chunks, 0)
  if ttl ~= '' then
    keep_alive()
  end
end
return {sweeps, seq, number(revision), body, roots or '', chunks}
