-- Tell whether the tags of a checkpoint, 4 bytes each, include all that are wanted.
local function has_all(marks, wanted)
  for at = 1, #wanted, 4 do
    if not marks:find(wanted:sub(at, at + 3), 1, true) then
      return false
    end
  end
  return true
end

