-- Count what a thread holds: whether anything, checkpoints, writes, chunks, payload bytes, and whether its messages are
-- lost, of which the chunks are there.
local checkpoints, writes = call('ZCARD', O), call('HLEN', W)
local listed = call('HEXISTS', M, 'y')
local _, _, _, bytes = counters(H)
local _, _, _, more = counters(M)
local any = (checkpoints > 0 or writes > 0 or listed == 1) and 1 or 0
return {any, checkpoints, writes, call('HLEN', K) + call('HLEN', N), bytes + more, has_lost_messages() and 1 or 0}
