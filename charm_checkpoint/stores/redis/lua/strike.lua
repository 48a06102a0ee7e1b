-- Remove checkpoints (members) and their writes from a thread that did not change since it was looked at; their chunks
-- stay. What follows from it, the caller found out: namespaces, each with the member that is its head then, or '' where
-- nothing is left; and runs that have no checkpoint left.
local expect, now, count, spaces_count = unpack(ARGV, 3, 6)
local at = 7

local deletes, sweeps, seq, bytes = counters(H)
if tonumber(expect) ~= seq then
  return {'changed', deletes, sweeps, seq, {}}
end

local function remove_write(field)
  bytes = bytes - call('HSTRLEN', W, field)
  call('HDEL', W, field)
end

for place = at, at + count - 1 do
  local member = ARGV[place]
  local row = call('HGET', C, member)
  if row then
    bytes = bytes - body_size(row)
    call('HDEL', C, member)
    call('ZREM', O, member)
  end
  for number = 0, count_writes(member) - 1 do
    remove_write(text3(number) .. member)
  end
end
at = at + count

local emptied = {}
for place = at, at + 2 * spaces_count - 1, 2 do
  local ns, head = ARGV[place], ARGV[place + 1]
  local space = call('HGET', H, 'n' .. ns)
  if head ~= '' then
    call('HSET', H, 'n' .. ns, head)
  elseif space then
    emptied[space:sub(1, 3)] = true
    call('HDEL', H, 'n' .. ns, 'N' .. space:sub(1, 3))
    if ns == '' then
      call('HDEL', H, 'i', 's', 'p')
    end
  end
end
at = at + 2 * spaces_count
if next(emptied) then
  for _, field in ipairs(call('HKEYS', W)) do
    if emptied[field:sub(4, 6)] then
      remove_write(field)
    end
  end
end

local ended = {}
for place = at, #ARGV do
  local token = call('HGET', H, 'r' .. ARGV[place])
  if token then
    call('HDEL', H, 'r' .. ARGV[place])
    ended[#ended + 1] = ARGV[place]
    ended[#ended + 1] = token
  end
end
sweeps, seq = sweeps + 1, seq + 1
call('HSET', H, 'w', sweeps, 'q', seq, 'b', bytes, 'a', now)
keep_alive()
return {'stored', deletes, sweeps, seq, ended}
