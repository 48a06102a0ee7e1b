-- Remove a thread's checkpoints, writes and chunks; its counters stay, so that late writes are known.
-- Keys that hold something else than they should go as well, and with the state its counters.
local token = ARGV[3]

local ended, all = {}, redis.pcall('HGETALL', H)
local deletes, sweeps, seq = 0, 0, 0
if not all.err then
  deletes, sweeps, seq = counters(H)
  if call('HEXISTS', H, 'q') == 0 then
    -- No more than a pin, if that.
    call('UNLINK', H, C, O, W, K)
    keep_alive()
    return {deletes, sweeps, seq, {}}
  end
  if again and call('HGET', H, 'x') == token then
    return {deletes, sweeps, seq, {}}
  end
elseif not all.err:find('WRONGTYPE', 1, true) then
  return all
end
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
