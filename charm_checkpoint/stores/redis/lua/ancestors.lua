-- Return a checkpoint and its ancestors, nearest first, as many as asked for or as a reply holds.
local ns, id, size = unpack(ARGV, 3, 5)

local deletes, sweeps, seq = counters(H)
local space, head = place(ns)
local line, seen, bytes = {}, {}, 0
while space and id ~= '' and not seen[id] and #line < tonumber(size) and bytes < REPLY_BYTES do
  seen[id] = true
  local row = call('HGET', C, space .. id)
  if not row then
    break
  end
  local writes = writes_of(space .. id)
  line[#line + 1] = {id, call('ZSCORE', O, space .. id), row, writes}
  bytes = bytes + #row
  for _, body in ipairs(writes) do
    bytes = bytes + #body
  end
  local _, parent = parts(row)
  id = parent
end
keep_alive_if_allowed()
return {deletes, sweeps, seq, head, line}
