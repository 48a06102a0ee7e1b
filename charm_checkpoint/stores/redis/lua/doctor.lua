-- Return what INFO says of the server, its memory, persistence, clients, replication and statistics, '' where it is
-- forbidden; the server's time in seconds; and the version of the layout.
local text = ''
for _, name in ipairs({'server', 'memory', 'persistence', 'clients', 'replication', 'stats', 'cluster'}) do
  local said = redis.pcall('INFO', name)
  text = text .. (type(said) == 'string' and said or '')
end
local at = redis.pcall('TIME')
return {text, tonumber(at[1]) or 0, redis.call('HGET', KEYS[2], 'version') or ''}
