-- Remove a thread's checkpoints, writes and chunks; its counters stay, so that late writes are known.
local token = ARGV[3]

if call('EXISTS', H) == 0 then
  return {0, 0, 0, {}}
end
local deletes, sweeps, seq = counters(H)
if again and call('HGET', H, 'x') == token then
  return {deletes, sweeps, seq, {}}
end
local ended, all = {}, call('HGETALL', H)
for at = 1, #all, 2 do
  if all[at]:sub(1, 1) == 'r' then
    ended[#ended + 1] = all[at]:sub(2)
    ended[#ended + 1] = all[at + 1]
  end
end
call('UNLINK', H, C, O, W, K)
deletes, sweeps, seq = deletes + 1, sweeps + 1, seq + 1
call('HSET', H, 'd', deletes, 'w', sweeps, 'q', seq, 'x', token)
keep_alive()
return {deletes, sweeps, seq, ended}
