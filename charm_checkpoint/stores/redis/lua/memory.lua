-- Return what INFO says of memory, '' where it is forbidden.
local text = redis.pcall('INFO', 'memory')
return type(text) == 'string' and text or ''
