-- What the scripts share that change the items of a space; it stands before each of them.
--
-- A space is these keys in one slot:
--   P  space    s stamp, r stamp of the last removal, b payload bytes, l token under which it is listed; when the last
--               item went, s and r stay for a while, so that stamps do not go back where a clock is set back
--   R  rows     key -> created, updated, ttl and expires as decimal numbers or nothing, a blank behind each; tags
--   S  stamps   keys by the stamp of their last change
--   E  entries  key -> entry, of those that have one; V the same for vectors
--   A  values   key -> value
--   O  order    keys by updated
--   X  ends     keys by expires, of those that end
--   D  done     tokens of the last calls and what they came to, for calls that are made again; expires
--   I  intent   there while somebody is about to put a first item; expires
local P, R, S, E, V, A, O, X, D, I, STAGE = unpack(KEYS)
local call = redis.call
local again = ARGV[1] == '1'
local TOKEN, REMEMBERED, REMEMBERED_FOR, STAMP_FOR = 8, 256, 600000, 86400000

-- Numbers are doubles, which hold microseconds since 1970 exactly; only %.0f writes them so.
local function text(value)
  return string.format('%.0f', value)
end

local stamp, removed, bytes = unpack(call('HMGET', P, 's', 'r', 'b'))
stamp, removed, bytes = tonumber(stamp) or 0, tonumber(removed) or 0, tonumber(bytes) or 0
local was_empty = call('EXISTS', R) == 0
local removes = false

local function next_stamp(now)
  stamp = math.max(now, stamp + 1)
  return stamp
end

-- Return what a call of this token came to when it was made before; nil if it was not.
local function done_before(token)
  for _, done in ipairs(again and call('LRANGE', D, 0, -1) or {}) do
    if done:sub(1, TOKEN) == token then
      return done:sub(TOKEN + 1)
    end
  end
end

local function remember(token, result)
  call('LPUSH', D, token .. result)
  call('LTRIM', D, 0, REMEMBERED - 1)
  call('PEXPIRE', D, REMEMBERED_FOR)
end

local function size_of(key)
  return #key + call('HSTRLEN', A, key) + call('HSTRLEN', E, key) + call('HSTRLEN', V, key)
end

local function drop(key)
  bytes, removes = bytes - size_of(key), true
  call('HDEL', R, key)
  call('HDEL', A, key)
  call('HDEL', E, key)
  call('HDEL', V, key)
  call('ZREM', S, key)
  call('ZREM', O, key)
  call('ZREM', X, key)
end

-- Keep what the items are now; return the token under which the space is listed if the last one went, else ''.
-- A server without memory refuses a script's first write only if that may add something, so this comes after others.
local function keep(listing)
  if removes then
    removed = stamp
  elseif was_empty then
    removed = stamp  -- whoever knows an earlier stamp knows another space of this path
  end
  if call('EXISTS', R) == 1 then
    call('HSET', P, 's', text(stamp), 'r', text(removed), 'b', text(bytes))
    if was_empty then
      call('HSET', P, 'l', listing)
      call('PERSIST', P)
      call('UNLINK', I)
    end
    return ''
  end
  local token = call('HGET', P, 'l') or ''
  call('UNLINK', P)
  call('HSET', P, 's', text(stamp), 'r', text(removed))
  call('PEXPIRE', P, STAMP_FOR)
  return token
end
