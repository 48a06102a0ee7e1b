-- What many pieces are sent as, which clients read faster than a list of them: their sizes, -1 for none, and all of
-- them end to end.
local function packed(pieces)
  local sizes = {}
  for n, piece in ipairs(pieces) do
    sizes[n] = piece and #piece or -1
    pieces[n] = piece or ''
  end
  return table.concat(sizes, ' '), table.concat(pieces)
end

