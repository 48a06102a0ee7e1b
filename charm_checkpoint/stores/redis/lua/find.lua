-- Return a checkpoint, the head if no id is given, with its writes and chunks.
local ns, id, have = unpack(ARGV, 3, 5)

local deletes, sweeps, seq = counters(H)
local space, head = place(ns)
if id == '' then
  id = head
end
local score = space and call('ZSCORE', O, space .. id)
if not score then
  return {deletes, sweeps, seq, head}
end
keep_alive_if_allowed()
local row, chunks = call('HGET', C, space .. id), {}
local _, _, _, _, roots = parts(row)
reached(K, roots, known(have), chunks, 0)
return {deletes, sweeps, seq, head, id, score, row, writes_of(space .. id), chunks}
