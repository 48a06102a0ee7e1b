-- Remove all of a thread, and keep its counters in G until a second (0: not at all). With `idle` it is done only if
-- nothing of it changed after that second, and it is not pinned. Keys that hold something else than they should go as
-- well. Return whether it was done; whether there was anything, checkpoints, writes, chunks, payload bytes; and the runs.
local limit, idle, expires = unpack(ARGV, 3, 5)

-- Return what a command does, and `other` where the key holds something else than it should.
local function ask(other, ...)
  local reply = redis.pcall(...)
  if type(reply) == 'table' and reply.err then
    return other
  end
  return reply or other
end

local checkpoints, writes = ask(0, 'ZCARD', O), ask(0, 'HLEN', W)
local listed = ask(0, 'HEXISTS', M, 'y')
local any = (checkpoints > 0 or writes > 0 or listed == 1) and 1 or 0
local function field(key, name)
  return number(ask(nil, 'HGET', key, name))
end
if idle ~= '' and any == 1 then
  local at = math.max(field(H, 'a'), listed == 1 and field(M, 'a') or 0)
  if at > tonumber(idle) or ask(0, 'HEXISTS', H, 'P') == 1 then
    return {0, 0, 0, 0, 0, 0, {}}
  end
end
local chunks, bytes = ask(0, 'HLEN', K) + ask(0, 'HLEN', N), field(H, 'b') + field(M, 'b')
local ended, all = {}, ask({}, 'HGETALL', H)
for at = 1, #all, 2 do
  if all[at]:sub(1, 1) == 'r' then
    ended[#ended + 1] = all[at]:sub(2)
    ended[#ended + 1] = all[at + 1]
  end
end

local function after(key, name, kept)
  return math.max(field(key, name), number(call('HGET', G, kept))) + 1
end
local kept = {
  'd', after(H, 'd', 'd'), 'w', after(H, 'w', 'w'), 'q', after(H, 'q', 'q'),
  'mw', after(M, 'w', 'mw'), 'mq', after(M, 'q', 'mq'), 'mr', after(M, 'r', 'mr'), 'u', limit,
}
call('UNLINK', H, C, O, W, K, M, N, I)
if limit == '0' then
  call('UNLINK', G)
else
  call('HSET', G, unpack(kept))
  call('PEXPIREAT', G, expires)
end
return {1, any, checkpoints, writes, chunks, bytes, ended}
