-- Return what a listing shows of a thread: whether it holds anything, its name, the second of its last change,
-- how many checkpoints, whether messages, the root's head, title, note, note of writes; what is wrong with it; and the
-- bytes of payload of all but its messages, and whether it is pinned.
local damage

local function ask(...)
  local reply = redis.pcall(...)
  if type(reply) == 'table' and reply.err then
    damage = damage or reply
    return nil
  end
  return reply
end

local name, at, head, title, note, writes_note, bytes, pin = unpack(
  ask('HMGET', H, 't', 'a', 'n', 'i', 's', 'p', 'b', 'P') or {}
)
local listed, other_name, other_at = unpack(ask('HMGET', M, 'y', 't', 'a') or {})
local checkpoints, writes = ask('ZCARD', O) or 0, ask('HLEN', W) or 0
ask('HLEN', C)
ask('HLEN', K)
ask('HLEN', N)
if damage and not damage.err:find('WRONGTYPE', 1, true) then
  return damage
end
if checkpoints == 0 and writes == 0 and has_lost_messages() then
  damage = damage or {err = 'its message list is lost'}
end
local any = checkpoints > 0 or writes > 0 or listed or damage
return {
  any and 1 or 0, name or other_name or false, math.max(number(at), listed and number(other_at) or 0), checkpoints,
  listed and 1 or 0, head and head:sub(4) or '', title or false, note or false, writes_note or false,
  damage and damage.err or false, number(bytes), pin and 1 or 0,
}
