-- Return what INFO says of persistence and of memory, '' where it is forbidden; and the version of the layout.
local function section(name)
  local text = redis.pcall('INFO', name)
  return type(text) == 'string' and text or ''
end
return {section('persistence') .. section('memory'), redis.call('HGET', KEYS[2], 'version')}
