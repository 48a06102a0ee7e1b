-- What all scripts share; it stands before each of them.
--
-- A thread is seven keys in one slot:
--   H  state   d deletes, w sweeps, q seq, b payload bytes, t name, z last space number, x last token;
--              a when it changed last, in seconds since 1970 by the writer's clock; for listings: i title,
--              s note, p note of writes; m what q was when a checkpoint was last put in the place of another; P where
--              the thread is pinned, be it that it holds messages only;
--              n<namespace> -> its space number and head's id; N<space> -> namespace; r<run> -> token
--   C  rows    member -> conflict, parent, run, tags, roots, body
--   O  order   member by commit number
--   W  writes  number and member -> body
--   K  chunks  address -> refs, data
--   M  messages, with w, q, b, t, x, a as above; y body, o roots, r revision. While batches wait behind the list, y is
--              WAITING, Y body, O roots; f and l are the numbers of the first and the last, p<number> -> token, batch;
--              s the bytes of all. X tokens of those taken in last; L where the first thing was a batch, which r counts:
--              1 until it is known that no list of Charm's sample plugin comes before it, then 0
--   N  chunks of the messages
--   G  what is kept of an erased thread: d, w, q, and mw, mq, mr of its messages, which one begun anew goes on from and
--      takes away; u until when, in seconds since 1970. Its name tells nothing of the thread's.
--   I  intent  a token, for a while: the thread is in the list of threads, and somebody is about to write what comes
--      first. Who takes it out of the list takes this away before
-- A member is a space number (3 bytes) and a checkpoint's id. ARGV[1] is '1' when this call may have
-- been executed before, its reply lost; ARGV[2] the milliseconds to live, '' for ever.

local H, C, O, W, K, M, N, G, I, STAGE = unpack(KEYS)
local call = redis.call
local again, ttl = ARGV[1] == '1', ARGV[2]
local REPLY_BYTES = 8 * 1024 * 1024
local ADDRESS = 16

local function number(text)
  return tonumber(text) or 0
end

local function text3(value)
  return string.char(math.floor(value / 65536), math.floor(value / 256) % 256, value % 256)
end

local function number3(text, at)
  local a, b, c = text:byte(at, at + 2)
  return a * 65536 + b * 256 + c
end

-- Return a part that has its length before it, and where the next one starts.
local function part(text, at)
  local stop = at + 2 + number3(text, at)
  return text:sub(at + 3, stop), stop + 1
end

local function joined(text)
  return text3(#text) .. text
end

local function each_address(text, visit)
  for at = 1, #text, ADDRESS do
    visit(text:sub(at, at + ADDRESS - 1))
  end
end

local renewed = {}

-- Return deletes, sweeps, seq and payload bytes of a state; where there is none, those that an erased one left.
local function counters(key)
  local d, w, q, b = unpack(call('HMGET', key, 'd', 'w', 'q', 'b'))
  if not q then
    local kind = key == M and 'm' or ''
    d, w, q = unpack(call('HMGET', G, kind .. 'd', kind .. 'w', kind .. 'q'))
    renewed[key] = q
  end
  return number(d), number(w), number(q), number(b)
end

-- Have a state that is about to be stored go on from those counters.
local function renew(key)
  if renewed[key] and key == H then
    call('HSET', H, 'd', number(call('HGET', G, 'd')), 'w', number(call('HGET', G, 'w')))
    call('HDEL', G, 'd', 'w', 'q')
  elseif renewed[key] then
    call('HSET', M, 'w', number(call('HGET', G, 'mw')), 'r', number(call('HGET', G, 'mr')))
    call('HDEL', G, 'mw', 'mq', 'mr')
  end
end

local function is_pinned()
  return call('HEXISTS', H, 'P') == 1
end

-- Keep what a call brings for listings on the thread's state; '' is nothing, else there is a byte before it.
local function take_notes(title, note, writes_note)
  if title ~= '' then
    call('HSETNX', H, 'i', title:sub(2))
  end
  if note ~= '' then
    call('HSET', H, 's', note:sub(2))
  end
  if writes_note ~= '' then
    call('HSET', H, 'p', writes_note:sub(2))
  end
end

-- Let all keys of the thread expire together, or not at all.
local function keep_alive()
  if ttl ~= '' and not is_pinned() then
    for at = 1, 7 do
      call('PEXPIRE', KEYS[at], ttl)
    end
  elseif call('PTTL', H) > 0 or call('PTTL', M) > 0 then
    for at = 1, 7 do
      call('PERSIST', KEYS[at])
    end
  end
end

-- Let them live on from a read, if that is asked for and may be: a replica refuses it, and so does a server to a user
-- who may not write. Then the read goes on without.
local function keep_alive_if_allowed()
  for at = 1, ttl ~= '' and not is_pinned() and 7 or 0 do
    if type(redis.pcall('PEXPIRE', KEYS[at], ttl)) == 'table' then
      return
    end
  end
end

-- Return a namespace's space number and the id of its head; nil and '' if there is none.
local function place(ns)
  local held = call('HGET', H, 'n' .. ns)
  if not held then
    return nil, ''
  end
  return held:sub(1, 3), held:sub(4)
end

-- Return the space of a namespace, made if need be.
local function room(space, ns)
  if space then
    return space
  end
  space = text3(call('HINCRBY', H, 'z', 1))
  call('HSET', H, 'n' .. ns, space, 'N' .. space, ns)
  return space
end

-- Return the namespaces of a thread by their space numbers.
local function spaces()
  local found, all = {}, call('HGETALL', H)
  for at = 1, #all, 2 do
    if all[at]:sub(1, 1) == 'N' then
      found[all[at]:sub(2)] = all[at + 1]
    end
  end
  return found
end

local function is_empty()
  return call('ZCARD', O) == 0 and call('HLEN', W) == 0
end

-- Tell whether the message list is lost: its chunks are there without it.
local function has_lost_messages()
  return call('EXISTS', M) == 0 and call('EXISTS', N) == 1
end

-- Tell whether nothing of the thread is there that its entry in the list of threads would be needed for; what is
-- damaged may be taken for nothing.
local function is_vacant(damaged_is_nothing)
  local function is_none(...)
    local reply = redis.pcall(...)
    return reply == 0 or (damaged_is_nothing and type(reply) == 'table')
  end
  return is_none('ZCARD', O) and is_none('HLEN', W) and is_none('HEXISTS', M, 'y') and is_none('HEXISTS', H, 'P')
    and (damaged_is_nothing or not has_lost_messages())
end

-- Tell whether this would be the thread's first write and it may not be listed: unless whoever asks noted an intent
-- before listing it, and nobody took that back since.
local function is_unlisted(intent)
  return is_vacant(true) and (intent == '' or call('GET', I) ~= intent)
end

-- Take away the intent that a write was done with; not first, see put_messages.lua.
local function fulfil(intent)
  if intent ~= '' then
    call('UNLINK', I)
  end
end

-- Remove what is left of a thread whose state expired a moment before the rest, or was evicted.
local function clear_remains()
  if call('EXISTS', H) == 0 and call('EXISTS', C, O, W, K) > 0 then
    call('HSET', H, 'q', 0) -- first, see put_messages.lua
    call('UNLINK', C, O, W, K)
  end
end

-- What becomes of a write, deleted, stale, conflict, changed or stored, is the rule of stores/shared/write_rule.py, which
-- put.lua, put_writes.lua and put_messages.lua say again; the cases of testing/write_cases.py are played on both.

-- Tell whether a write comes from before the thread was deleted.
local function is_late(seen, deletes, space, id)
  if seen ~= '' then
    return tonumber(seen) ~= deletes
  end
  return deletes > 0 and id ~= '' and not (space and call('ZSCORE', O, space .. id))
end

-- ------------------------------------------------------------------------ rows and writes

local function body_size(row)
  local at = 1
  for _ = 1, 5 do
    at = at + 3 + number3(row, at)
  end
  return #row - at + 1
end

-- Return conflict, parent, run, tags and roots of a row.
local function parts(row)
  local conflict, parent, run, tags, roots, at
  conflict, at = part(row, 1)
  parent, at = part(row, at)
  run, at = part(row, at)
  tags, at = part(row, at)
  roots = part(row, at)
  return conflict, parent, run, tags, roots
end

local function writes_of(member)
  local bodies = {}
  local body = call('HGET', W, text3(0) .. member)
  while body do
    bodies[#bodies + 1] = body
    body = call('HGET', W, text3(#bodies) .. member)
  end
  return bodies
end

-- Return how many writes a checkpoint has: they are numbered from 0 without a gap.
local function count_writes(member)
  local function has(at)
    return call('HEXISTS', W, text3(at) .. member) == 1
  end
  if not has(0) then
    return 0
  end
  local low, high = 0, 1
  while has(high) do
    low, high = high, high * 2
  end
  while high - low > 1 do
    local middle = math.floor((low + high) / 2)
    if has(middle) then
      low = middle
    else
      high = middle
    end
  end
  return high
end

-- ------------------------------------------------------------------------ messages

-- No body starts with this byte: versions that know no batches refuse to read the list.
local WAITING = '\2'
local TOKEN = 8

-- Tell whether these can be the numbers of the first and the last batch: each has a field, and a loop over them an end,
-- which numbers above all whole ones do not give it.
local function are_numbers(first, last)
  return last - first < call('HLEN', M) and math.max(last, -first) < 1e15
end

-- Return the message list: body (or false), roots, revision, is_put, and the numbers of its batches.
local function message_list()
  local y, o, r, l, body, roots, first, last = unpack(call('HMGET', M, 'y', 'o', 'r', 'L', 'Y', 'O', 'f', 'l'))
  local list = {body = y, roots = o or '', first = 1, last = 0, is_new = not r, is_put = r and l ~= '1'}
  list.uncounted = l and 1 or 0
  list.revision = number(r) - list.uncounted
  if list.is_new then
    local kept = call('HGET', G, 'mr')
    if kept then
      list.revision, list.is_new, list.is_put = number(kept), false, true
    end
  end
  if y == WAITING then
    list.body, list.roots, list.first, list.last = body, roots or '', number(first), number(last)
  elseif first then
    list.left = {number(first), number(last)}
  end
  if first and not are_numbers(number(first), number(last)) then
    error('malformed numbers of batches')
  end
  return list
end

-- Remove batches by their numbers; return the payload bytes they held.
local function take_batches(first, last)
  local bytes, tokens = 0, {}
  for at = first, last do
    local batch = call('HGET', M, 'p' .. at) or ''
    tokens[#tokens + 1] = batch:sub(1, TOKEN)
    bytes = bytes + math.max(0, #batch - TOKEN)
    call('HDEL', M, 'p' .. at)
  end
  if #tokens > 0 then
    call('HSET', M, 'X', (table.concat(tokens) .. (call('HGET', M, 'X') or '')):sub(1, 256 * TOKEN))
  end
  return bytes
end

-- Remove what a version that knows no batches left of them when it deleted the list.
local function clear_batches(list)
  if not list.left then
    return 0
  end
  local bytes = take_batches(list.left[1], list.left[2])
  call('HDEL', M, 'Y', 'O', 'f', 'l', 's')
  return bytes
end

-- ------------------------------------------------------------------------ chunks

local function data_size(packed)
  return #packed - 3 - number3(packed, 1)
end

-- Return the chunks that roots reach, address and content alternately, but for those in `seen`, up to `room` bytes.
local function reached(chunks, roots, seen, found, bytes)
  local waiting = {}
  local function wait(address)
    if not seen[address] then
      seen[address] = true
      waiting[#waiting + 1] = address
    end
  end
  each_address(roots, wait)
  local at = 1
  while waiting[at] and bytes < REPLY_BYTES do
    local packed = call('HGET', chunks, waiting[at])
    if packed then
      found[#found + 1] = waiting[at]
      found[#found + 1] = packed
      bytes = bytes + #packed
      each_address((part(packed, 1)), wait)
    end
    at = at + 1
  end
  return bytes
end

local function known(text)
  local seen = {}
  each_address(text, function(address) seen[address] = true end)
  return seen
end

-- Remove the chunks that none of the roots (a list of texts) reaches; return the payload bytes they held.
local function sweep(chunks, roots)
  local live, waiting = {}, {}
  local function mark(address)
    if not live[address] then
      live[address] = true
      waiting[#waiting + 1] = address
    end
  end
  for _, text in ipairs(roots) do
    each_address(text, mark)
  end
  while #waiting > 0 do
    local packed = call('HGET', chunks, table.remove(waiting))
    if packed then
      each_address((part(packed, 1)), mark)
    end
  end
  local bytes = 0
  for _, address in ipairs(call('HKEYS', chunks)) do
    if not live[address] then
      bytes = bytes + data_size(call('HGET', chunks, address))
      call('HDEL', chunks, address)
    end
  end
  return bytes
end

-- Visit what was sent ahead, a few items at a time: they may be large.
local function each_staged(visit)
  for at = 0, STAGE and call('LLEN', STAGE) - 1 or -1, 16 do
    for _, item in ipairs(call('LRANGE', STAGE, at, at + 15)) do
      visit(item)
    end
  end
end

-- Visit the chunks of a call: those in ARGV from `first` on, address and content alternately, and those sent ahead.
local function each_chunk(first, visit)
  for at = first, #ARGV, 2 do
    visit(ARGV[at], ARGV[at + 1])
  end
  each_staged(function(item) visit(item:sub(1, ADDRESS), item:sub(ADDRESS + 1)) end)
end

-- Tell whether a chunk is missing that the roots or the chunks of this call name.
local function lacks(chunks, roots, first)
  local sent, missing = {}, false
  each_chunk(first, function(address) sent[address] = true end)
  local function check(address)
    if not missing and not sent[address] then
      missing = call('HEXISTS', chunks, address) == 0
      sent[address] = true
    end
  end
  each_address(roots, check)
  each_chunk(first, function(_, packed) each_address((part(packed, 1)), check) end)
  return missing
end

-- Add chunks where they are not there; return the payload bytes that this took.
local function add_chunks(chunks, first)
  local bytes = 0
  each_chunk(first, function(address, packed)
    if call('HSETNX', chunks, address, packed) == 1 then
      bytes = bytes + data_size(packed)
    end
  end)
  if STAGE then
    call('UNLINK', STAGE)
  end
  return bytes
end
