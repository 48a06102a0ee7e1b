-- Note that a thread is to be kept, or no longer; return whether it is there.
local pinned = ARGV[3] == '1'

if is_empty() and call('HEXISTS', M, 'y') == 0 then
  call('HDEL', H, 'P')
  return 0
end
if pinned then
  call('HSET', H, 'P', 1)
else
  call('HDEL', H, 'P')
end
keep_alive()
return 1
