-- Tell whether a listing is to look into a thread: 0 if it holds no match, 1 if it may, or is gone. A listing asks
-- this of many threads at once, so it is bounded, and does without common.lua, which describes keys and rows; tags.lua comes first.
local state, rows, order = unpack(KEYS)
local ns, id, below, tags, nested = unpack(ARGV, 3, 7)
local call = redis.call
local LOOKED_AT = 250

local function number3(text, at)
  local a, b, c = text:byte(at, at + 2)
  return a * 65536 + b * 256 + c
end

-- Tell whether an id is wanted. Texts are optional, as in page.lua, where ids are compared.
local function is_wanted(name)
  if id ~= '' and name ~= id:sub(2) then
    return false
  end
  for at = 2, below == '' and 0 or math.min(#name + 1, #below) do
    local a, b = name:byte(at - 1), below:byte(at)
    if a ~= b then
      return a < b
    end
  end
  return below == '' or #name < #below - 1
end

local function has_tags(member)
  local row, at = call('HGET', rows, member), 1
  if not row then
    return true
  end
  for _ = 1, 3 do
    at = at + 3 + number3(row, at)
  end
  local marks = row:sub(at + 3, at + 2 + number3(row, at))
  return has_all(marks, tags) and (marks:sub(1, 4) ~= 'deep' or has_all(marks, nested))
end

local members = call('ZREVRANGEBYSCORE', order, '+inf', '-inf', 'LIMIT', 0, LOOKED_AT + 1)
if #members == 0 then
  return 1
end
if ns ~= '' and call('HEXISTS', state, 'n' .. ns:sub(2)) == 0 then
  return 0
end
if #members > LOOKED_AT then
  return 1
end
for _, member in ipairs(members) do
  if is_wanted(member:sub(4)) and (tags .. nested == '' or has_tags(member)) then
    return 1
  end
end
return 0
