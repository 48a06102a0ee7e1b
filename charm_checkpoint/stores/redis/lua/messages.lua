-- Return the message list with its chunks and the batches behind it; and whether there ever was one.
local have = ARGV[3]

local _, sweeps, seq = counters(M)
local list, batches, chunks = message_list(), {}, {}
for start = list.first, list.last, 500 do
  local fields = {}
  for at = start, math.min(start + 499, list.last) do
    fields[#fields + 1] = 'p' .. at
  end
  for _, batch in ipairs(call('HMGET', M, unpack(fields))) do
    batches[#batches + 1] = batch:sub(TOKEN + 1)
  end
end
if list.body or #batches > 0 then
  reached(N, list.roots, known(have), chunks, 0)
  keep_alive_if_allowed()
end
return {sweeps, seq, list.revision, list.body, list.roots, chunks, batches, list.is_put and 1 or 0}
