-- Replace the message list, or delete it when its body is none ('', else a byte and the body).
-- Batches that it takes in, or all ('') of them, go.
local name, body, roots, base, expect, sweeping, token, taken, now, intent, staged = unpack(ARGV, 3, 13)
local FIRST = 14

for _, key in ipairs(body == '' and {M, N} or {}) do
  local held = redis.pcall('HGET', key, 'y')
  if type(held) == 'table' and held.err then
    call('UNLINK', key)  -- it is not what it should be, and is to go
  end
end
if body == '' and not are_numbers(number(call('HGET', M, 'f')), number(call('HGET', M, 'l'))) then
  call('UNLINK', M)
end
local _, sweeps, seq, bytes = counters(M)
local list = message_list()
local revision, is_put = list.revision, list.is_put

local function reply(outcome)
  return {outcome, 0, sweeps, seq, is_put and 1 or 0}
end

if again and call('HGET', M, 'x') == token then
  is_put = false -- so that what comes after a first put is done in any case
  return reply('stored')
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
if body ~= '' and is_unlisted(intent) then
  return reply('unlisted')
end
local is_remnant = has_lost_messages()
if body ~= '' then
  -- A server without memory refuses a script's first write only if that may add something, and no later one.
  call('HSET', M, 'x', token)
end
if is_remnant then
  call('UNLINK', N)
end

renew(M)
bytes = bytes - (list.body and #list.body or 0) - clear_batches(list)
local first = taken == '' and list.last + 1 or math.min(list.first + tonumber(taken), list.last + 1)
local freed = take_batches(list.first, first - 1)
bytes = bytes - freed + add_chunks(N, FIRST)
if body == '' then
  call('HDEL', M, 'y', 'o', 't')
end
if first <= list.last then
  call('HSET', M, 'Y', body:sub(2), 'O', roots, 't', name, 'f', first)
  call('HSET', M, 's', number(call('HGET', M, 's')) - freed)
else
  call('HDEL', M, 'Y', 'O', 'f', 'l', 's')
  if body ~= '' then
    call('HSET', M, 'y', body:sub(2), 'o', roots, 't', name)
  end
end
if body ~= '' then
  bytes = bytes + #body - 1
end
if body == '' then
  call('UNLINK', N) -- whatever its chunks look like
  bytes = 0
elseif sweeping == '1' then
  bytes = bytes - sweep(N, {roots})
end
sweeps = sweeps + number(sweeping)
seq, revision = seq + 1, revision + 1
if not is_put and list.uncounted == 1 then
  call('HSET', M, 'L', 0)
end
call('HSET', M, 'w', sweeps, 'q', seq, 'r', revision + list.uncounted, 'x', token, 'b', bytes, 'a', now)
fulfil(intent)
keep_alive()
return reply('stored')
