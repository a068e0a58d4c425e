-- The commands that are not called for every delivery or push: those stand with what they do.

local function with_lane(id, act)
  open_full_store()
  local l = Lane.load(id)
  local reply = act(l)
  return {reply or '', Lane.rest(l) or 0}
end

function COMMANDS.pause(lane, reason, until_ms)
  return with_lane(lane, function(l)
    History.grow()
    Lane.pause(l, reason, tonumber(until_ms))
  end)
end

function COMMANDS.lend(lane, nonce, terms)
  return with_lane(lane, function(l) return Lane.lend(l, nonce, cjson.decode(terms)) end)
end

function COMMANDS.give_back(lane, fence, sent_ms, quiet)
  return with_lane(lane, function(l) Lane.give_back(l, tonumber(fence), tonumber(sent_ms), quiet == '1') end)
end

function COMMANDS.resume(lane)
  return with_lane(lane, function(l)
    History.grow()
    Lane.resume(l)
  end)
end

function COMMANDS.sweep(limit, skip, room) return sweep(tonumber(limit), tonumber(skip), tonumber(room)) end

function COMMANDS.resolve(delivery, from, headers)
  delivery = cjson.decode(delivery)
  delivery.headers = headers
  return resolve(delivery, cjson.decode(from))
end

function COMMANDS.repark(reason, id) return repark(cjson.decode(reason), id) end

function COMMANDS.take_lookups(source, most, lease_ms)
  return take_lookups(source, tonumber(most), tonumber(lease_ms))
end

function COMMANDS.postpone_lookup(id, wait_ms, reason) return postpone_lookup(id, tonumber(wait_ms), reason) end

function COMMANDS.cancel(id, reason) return cancel_recall(id, reason) end

function COMMANDS.retry(id, reason, date, score) return retry_recall(id, reason, date, score) end

function COMMANDS.bind(accounts) return bind(cjson.decode(accounts)) end

function COMMANDS.purge(before, limit) return purge(cjson.decode(before), tonumber(limit)) end

function COMMANDS.upgrade(limit) return upgrade(tonumber(limit)) end

function COMMANDS.beat(id, told) return beat(id, cjson.decode(told)) end

function COMMANDS.tally(process, number, told) return tally(process, tonumber(number), cjson.decode(told)) end

function COMMANDS.stand(names) return stand(cjson.decode(names)) end

function COMMANDS.sign_in(digest, doc, idle_ms) return sign_in(digest, doc, tonumber(idle_ms)) end

function COMMANDS.note(who, what, about, address) return note(who, what, about, address) end

function COMMANDS.begin_job(job, suffix) return Job.begin(cjson.decode(job), suffix) end

function COMMANDS.take_job(id, owner)
  open_full_store()
  return Job.take(id, owner)
end

function COMMANDS.job_step(id, owner, from, to, acts) return Job.step(id, owner, from, to, cjson.decode(acts)) end

function COMMANDS.stop_job(id)
  open_full_store()
  return Job.stop(id)
end

function COMMANDS.mind_alerts(who, ms) return mind_alerts(who, tonumber(ms)) end

function COMMANDS.settle_alerts(told) return settle_alerts(cjson.decode(told)) end

function COMMANDS.take_messages(hold_ms) return take_messages(tonumber(hold_ms)) end

function COMMANDS.message_done(channel, message) return message_done(channel, message) end

function COMMANDS.message_waits(channel, wait_ms, reason) return message_waits(channel, tonumber(wait_ms), reason) end
