-- Put a batch behind the message list, whatever that is.
local name, token, body, now, intent = unpack(ARGV, 3, 7)

local _, _, seq, bytes = counters(M)
local list = message_list()
local count, size = list.last - list.first + 1, number(call('HGET', M, 's'))

local function is_there()
  for at = list.first, list.last do
    if call('HGET', M, 'p' .. at):sub(1, TOKEN) == token then
      return true
    end
  end
  return ((call('HGET', M, 'X') or ''):find(token, 1, true)) ~= nil
end

if again and is_there() then
  return {'stored', count, size, list.is_new and 1 or 0}
end
if is_unlisted(intent) then
  return {'unlisted'}
end
if has_lost_messages() then
  call('HSET', M, 'q', 0) -- first, see put_messages.lua
  call('UNLINK', N)
end
renew(M)
if count == 0 then
  bytes, size = bytes - clear_batches(list), 0
  call('HSET', M, 'y', WAITING, 'f', list.first)
  if list.body then
    call('HSET', M, 'Y', list.body, 'O', list.roots)
  end
  call('HDEL', M, 'o')
end
if list.is_new then
  call('HSET', M, 'r', 1, 'L', 1)
end
local last = list.last + 1
call('HSET', M, 'p' .. last, token .. body, 'l', last, 's', size + #body)
call('HSET', M, 'q', seq + 1, 't', name, 'b', bytes + #body, 'a', now)
fulfil(intent)
keep_alive()
return {'stored', count + 1, size + #body, list.is_new and 1 or 0}
