-- Do what a batch does in one space: reads, touches, changes; all of it, or nothing where an item is not as expected.
-- A first item is put only if the space is listed by then: without `intent`, or if that was taken back meanwhile, the
-- reply is 'unlisted' with the one that holds now; whoever asks lists the space, under a new `listing`, and comes again.
local now, token, intent, listing, puts, expecting, reads, touches, staged = unpack(ARGV, 2, 10)
local FIRST, INTENT_FOR = 11, 60000
now, reads, touches = tonumber(now), tonumber(reads), tonumber(touches)

-- Return a row's created, updated, ttl and expires, nil where there are none, and where its tags begin.
local function row_of(key)
  local row = call('HGET', R, key)
  if not row then
    return nil
  end
  local created, updated, ttl, expires, at = row:match('^(%S*) (%S*) (%S*) (%S*) ()')
  expires = tonumber(expires)
  return {
    all = row, created = created, updated = updated, ttl = tonumber(ttl), at = at,
    is_there = not expires or expires > now,
  }
end

local function there(key)
  local row = row_of(key)
  return row and row.is_there and row or nil
end

local function row_text(created, updated, ttl, expires, tags)
  return created .. ' ' .. updated .. ' ' .. (ttl and text(ttl) or '') .. ' ' .. (expires and text(expires) or '') .. ' '
    .. tags
end

-- A change: kind, the lengths of key, tags, entry and vectors, ttl, expect, created and updated ('-' is none), a line
-- end; then those parts, and the value.
local function change_of(packed)
  local kind, key, tags, entry, vectors, ttl, expect, created, updated, at =
    packed:match('^(%a) (%d+) (%d+) (%d+) (%d+) (%S+) (%S+) (%S+) (%S+)\n()')
  local function cut(size)
    at = at + tonumber(size)
    return packed:sub(at - size, at - 1)
  end
  key = cut(key)
  tags = cut(tags)
  entry = cut(entry)
  vectors = cut(vectors)
  return {
    kind = kind, key = key, tags = tags, entry = entry, vectors = vectors, packed = packed, at = at,
    ttl = tonumber(ttl), expect = tonumber(expect),
    created = created ~= '-' and created, updated = updated ~= '-' and updated,
  }
end

local function each_change(visit)
  for at = FIRST + reads + touches, #ARGV do
    visit(change_of(ARGV[at]))
  end
  for at = 0, STAGE and call('LLEN', STAGE) - 1 or -1, 16 do
    for _, packed in ipairs(call('LRANGE', STAGE, at, at + 15)) do
      visit(change_of(packed))
    end
  end
end

local rows = {}
for at = FIRST, FIRST + reads - 1 do
  local row = there(ARGV[at])
  rows[#rows + 1] = row and row.all or false
  rows[#rows + 1] = row and call('HGET', A, ARGV[at]) or false
end

-- What a batch came to, as runs: the first number, and how many follow each other from it.
local before = done_before(token)
if before then
  local updated = {}
  for first, count in before:gmatch('(%S+):(%d+)') do
    for more = 0, tonumber(count) - 1 do
      updated[#updated + 1] = text(tonumber(first) + more)
    end
  end
  return {'stored', rows, updated, ''}
end
if STAGE and call('LLEN', STAGE) ~= tonumber(staged) then
  return {'unstaged', rows, {}, ''}
end
if expecting == '1' then
  local expected = true
  each_change(function(change)
    local row = change.expect and there(change.key)
    expected = expected and (not change.expect or change.expect == (row and tonumber(row.updated) or 0))
  end)
  if not expected then
    return {'changed', rows, {}, ''}
  end
end
if puts == '1' and was_empty and (intent == '' or call('GET', I) ~= intent) then
  if again then
    return {'unlisted', rows, {}, ''}  -- the same intent twice could not be told from one that was never taken back
  end
  local held = call('GET', I) or listing
  call('SET', I, held, 'PX', INTENT_FOR)
  return {'unlisted', rows, {}, held}
end

local changed = false
local function touch(key)
  local row = there(key)
  if not row or not row.ttl then
    return true
  end
  local earlier, ends = stamp, now + row.ttl
  local mine = next_stamp(now)
  local renewed = row_text(row.created, row.updated, row.ttl, ends, row.all:sub(row.at))
  local reply = redis.pcall('HSET', R, key, renewed)
  if type(reply) == 'table' and reply.err then
    stamp = earlier
    return false
  end
  call('ZADD', S, text(mine), key)
  call('ZADD', X, text(ends), key)
  changed = true
  return true
end

local function put(change)
  local mine, old = next_stamp(now), row_of(change.key)
  local value = change.packed:sub(change.at)
  local updated = change.updated or text(mine)
  local created = change.created or (old and old.is_there and old.created) or updated
  local ends = change.ttl and now + change.ttl
  if old then
    bytes = bytes - size_of(change.key)
  end
  bytes = bytes + #change.key + #value + #change.entry + #change.vectors
  call('HSET', R, change.key, row_text(created, updated, change.ttl, ends, change.tags))
  call('HSET', A, change.key, value)
  for hash, part in pairs({[E] = change.entry, [V] = change.vectors}) do
    if part ~= '' then
      call('HSET', hash, change.key, part)
    elseif old then
      call('HDEL', hash, change.key)
    end
  end
  call('ZADD', S, text(mine), change.key)
  call('ZADD', O, updated, change.key)
  if ends then
    call('ZADD', X, text(ends), change.key)
  elseif old then
    call('ZREM', X, change.key)
  end
  changed = true
  return updated
end

local function delete(change)
  local row = row_of(change.key)
  if not row or row.is_there == (change.kind == 'x') then
    return '0'
  end
  drop(change.key)
  changed = true
  return text(next_stamp(now))
end

if puts == '1' then
  -- The first write, which a server without memory refuses, and with it all of them.
  call('HSET', P, 's', text(stamp))
end
for at = FIRST + reads, FIRST + reads + touches - 1 do
  if not touch(ARGV[at]) then
    break  -- on a replica, or for a user who may not write: the read goes on without
  end
end
local updated, runs = {}, {}
local first, count
each_change(function(change)
  local value = change.kind == 'p' and put(change) or delete(change)
  updated[#updated + 1] = value
  if first and tonumber(value) == first + count then
    count = count + 1
  else
    runs[#runs + 1] = first and text(first) .. ':' .. count
    first, count = tonumber(value), 1
  end
end)
runs[#runs + 1] = first and text(first) .. ':' .. count
if STAGE then
  call('UNLINK', STAGE)
end
local emptied = ''
if changed then
  emptied = keep(listing)
  if first then
    remember(token, table.concat(runs, ' '))
  end
end
return {'stored', rows, updated, emptied}
