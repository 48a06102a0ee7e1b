-- Commit a checkpoint, its chunks and the head, or nothing. STAGE, if given, holds `staged` chunks sent ahead. A run's
-- first checkpoint in the thread needs to be `noted` with the run just before.
local name, ns, id, parent, row, roots, policy, base, seen, run, token = unpack(ARGV, 3, 13)
local noted, title, note, now, intent, staged = unpack(ARGV, 14, 19)
local FIRST = 20

local deletes, sweeps, seq, bytes = counters(H)
local space, head = place(ns)
local score = space and call('ZSCORE', O, space .. id)

local function reply(outcome, conflict)
  return {outcome, deletes, sweeps, seq, head, conflict and 1 or 0}
end

if is_late(seen, deletes, space, parent) then
  return reply('deleted')
end
if STAGE and call('LLEN', STAGE) ~= tonumber(staged) then
  if not (again and score) then
    return reply('unstaged')
  end
  -- The call whose reply was lost took what was sent ahead.
  local mark = part(call('HGET', C, space .. id), 1)
  head = mark ~= '' and mark or head
  return reply('stored', mark ~= '')
end
if base ~= '' and (tonumber(base) ~= sweeps or lacks(K, roots, FIRST)) then
  return reply('stale')
end
local conflict = policy ~= 'allow' and head ~= '' and head ~= parent and head ~= id and not score
if conflict and policy == 'raise' then
  return reply('conflict', true)
end
if is_unlisted(intent) then
  return reply('unlisted')
end
if run ~= '' and noted == '0' and call('HEXISTS', H, 'r' .. run) == 0 then
  return reply('unnoted')
end

clear_remains()
renew(H)
bytes = bytes + add_chunks(K, FIRST)
space = room(space, ns)
local member, mark = space .. id, conflict and head or ''
if score then
  local old = call('HGET', C, member)
  mark = part(old, 1)
  bytes = bytes - body_size(old)
  call('HSET', H, 'm', seq + 1)
  -- A call whose reply was lost is told what the first one was.
  if again and mark ~= '' then
    conflict, head = true, mark
  end
end
row = joined(mark) .. row
call('HSET', C, member, row)
seq = seq + 1
call('HSET', H, 'q', seq, 'b', bytes + body_size(row), 't', name, 'a', now)
take_notes(title, note, '')
if not score then
  call('ZADD', O, seq, member)
  call('HSET', H, 'n' .. ns, member)
end
if run ~= '' then
  call('HSETNX', H, 'r' .. run, token)
end
fulfil(intent)
keep_alive()
return reply('stored', conflict)
