-- Append pending writes to a checkpoint, which may come later.
local name, ns, id, body, seen, note, now = unpack(ARGV, 3, 9)

local deletes, sweeps, seq, bytes = counters(H)
local space, head = place(ns)

if is_late(seen, deletes, space, id) then
  return {'deleted', deletes, sweeps, seq, head, 0, 0}
end

clear_remains()
local fresh = is_empty() and not is_pinned()
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
keep_alive()
return {'stored', deletes, sweeps, seq, head, 0, fresh and 1 or 0}
