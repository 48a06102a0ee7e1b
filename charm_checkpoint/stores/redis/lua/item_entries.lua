-- Return what has changed in a space since a stamp: the space's stamp ('' if it has no item), the stamp up to which
-- this is told, whether with vectors, of each item key, row, entry and vectors, packed, and the keys of all items,
-- packed, if some may be gone since `seen`. Without `since` it is told whole; and so it is where `since` is above the
-- stamp, which is then of an earlier space. item_packed.lua comes first.
local P, R, S, E, V = unpack(KEYS)
local since, seen, inline, limit = unpack(ARGV, 2, 5)
local call = redis.call
local BATCH, REPLY_BYTES = 500, tonumber(limit)

if call('EXISTS', R) == 0 then
  return {'', '', 0, '', ''}
end
local stamp, removed = unpack(call('HMGET', P, 's', 'r'))
stamp, removed = stamp or '0', tonumber(removed) or 0
if since == stamp then
  return {stamp, stamp, 0, '', ''}
end
if since ~= '' and tonumber(since) > tonumber(stamp) then
  since, seen = '', ''
end
local from = since == '' and '-inf' or '(' .. since
local with_vectors = call('ZCOUNT', S, from, '+inf') <= tonumber(inline)
local found, bytes, at, last = {}, 0, 0, nil
while bytes < REPLY_BYTES do
  local keys = call('ZRANGEBYSCORE', S, from, '+inf', 'LIMIT', at, BATCH)
  if #keys == 0 then
    last = nil
    break
  end
  local rows, entries = call('HMGET', R, unpack(keys)), call('HMGET', E, unpack(keys))
  local vectors = with_vectors and call('HMGET', V, unpack(keys)) or {}
  for n, key in ipairs(keys) do
    local size = #found
    found[size + 1], found[size + 2], found[size + 3] = key, rows[n], entries[n]
    bytes = bytes + #key + #(rows[n] or '') + #(entries[n] or '')
    if with_vectors then
      found[size + 4] = vectors[n] or false
      bytes = bytes + #(vectors[n] or '')
    end
  end
  at, last = at + #keys, keys[#keys]
  if #keys < BATCH then
    last = nil
    break
  end
end
local upto = last and call('ZSCORE', S, last) or stamp
local reply = {stamp, upto, with_vectors and 1 or 0, packed(found)}
if upto == stamp and seen ~= '' and removed > tonumber(seen) then
  reply[6], reply[7] = packed(call('ZRANGE', S, 0, -1))
end
return reply
