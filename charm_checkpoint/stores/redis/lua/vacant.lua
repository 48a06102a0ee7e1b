-- Tell whether nothing of a thread is there and nobody is about to write what comes first: who thinks so is told to list
-- the thread again. For a while after noting it somebody is left in peace: while he has more milliseconds left than these.
local longest = tonumber(ARGV[3])
if not is_vacant() or call('PTTL', I) > longest then
  return 0
end
if call('EXISTS', I) == 1 then
  call('UNLINK', I)
end
return 1
