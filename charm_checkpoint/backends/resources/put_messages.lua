-- Replace the message list, or delete it when its body is none ('', else a byte and the body).
local name, body, roots, base, expect, sweeping, token, staged = unpack(ARGV, 3, 10)
local FIRST = 11

local _, sweeps, seq, bytes = counters(M)
local old, revision, last = unpack(call('HMGET', M, 'y', 'r', 'x'))
revision = number(revision)

local function reply(outcome, fresh)
  return {outcome, 0, sweeps, seq, fresh and 1 or 0, revision}
end

if again and last == token then
  return reply('stored', true)
end
if expect ~= '' and tonumber(expect) ~= revision then
  return reply('changed')
end
if STAGE and call('LLEN', STAGE) ~= tonumber(staged) then
  return reply('unstaged')
end
if base ~= '' and (tonumber(base) ~= sweeps or lacks(N, roots, FIRST)) then
  return reply('stale')
end
if call('EXISTS', M) == 0 and call('EXISTS', N) > 0 then
  call('UNLINK', N)
end

bytes = bytes - (old and #old or 0)
if body == '' then
  call('HDEL', M, 'y', 'o', 't')
end
bytes = bytes + add_chunks(N, FIRST)
if body ~= '' then
  call('HSET', M, 'y', body:sub(2), 'o', roots, 't', name)
  bytes = bytes + #body - 1
end
if sweeping == '1' then
  bytes = bytes - sweep(N, {roots})
  sweeps = sweeps + 1
end
seq, revision = seq + 1, revision + 1
call('HSET', M, 'w', sweeps, 'q', seq, 'r', revision, 'x', token, 'b', bytes)
keep_alive()
return reply('stored', not old)
