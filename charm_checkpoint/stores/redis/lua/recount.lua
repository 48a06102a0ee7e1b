-- Note how many bytes of payload a thread's checkpoints hold, if it is still as it was when they were counted.
if number(call('HGET', H, 'q')) ~= tonumber(ARGV[3]) then
  return 0
end
call('HSET', H, 'b', ARGV[4])
return 1
