-- Return what INFO says of persistence and of memory, '' where it is forbidden; and the version of the layout and its secret.
local function section(name)
  local text = redis.pcall('INFO', name)
  return type(text) == 'string' and text or ''
end
local version, secret = unpack(redis.call('HMGET', KEYS[2], 'version', 'secret'))
return {section('persistence') .. section('memory'), version, secret}
