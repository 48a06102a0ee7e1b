-- Append pending writes to a checkpoint, which may come later.
local name, ns, id, body, seen, note, now, intent = unpack(ARGV, 3, 10)

local deletes, sweeps, seq, bytes = counters(H)
local space, head = place(ns)

if is_late(seen, deletes, space, id) then
  return {'deleted', deletes, sweeps, seq, head}
end
if is_unlisted(intent) then
  return {'unlisted', deletes, sweeps, seq, head}
end

clear_remains()
renew(H)
space = room(space, ns)
local count = count_writes(space .. id)
local done = again and count > 0 and call('HGET', W, text3(count - 1) .. space .. id) == body
if not done then
  call('HSET', W, text3(count) .. space .. id, body)
  seq = seq + 1
  call('HSET', H, 'q', seq, 'b', bytes + #body, 't', name, 'a', now)
end
take_notes('', '', note)
fulfil(intent)
keep_alive()
return {'stored', deletes, sweeps, seq, head}
