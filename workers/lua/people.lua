-- What the dashboard keeps of people: who is signed in, and who did what.

-- doc: what is known of the session, opaque here
local function sign_in(digest, doc, idle_ms)
  open_full_store()
  return redis.call('SET', P .. 'session:' .. digest, doc, 'PX', idle_ms)
end

-- The entry's id holds the time, by the store's own clock: it only grows.
local function note(who, what, about, address)
  open_full_store()
  return redis.call('XADD', P .. 'audit', '*', 'who', who, 'what', what, 'about', about, 'address', address)
end
