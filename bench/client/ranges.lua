-- Random 64 KiB ranges of one object. Arguments: size in bytes, seed. Prints one line of JSON.
local SPAN = 65536
local asked, place = {}, 0

function init(args)
   math.randomseed(tonumber(args[2]))
   for i = 1, 4096 do
      local first = math.random(0, tonumber(args[1]) - SPAN)
      wrk.headers["Range"] = string.format("bytes=%d-%d", first, first + SPAN - 1)
      asked[i] = wrk.format("GET")
   end
end

function request()
   place = place % #asked + 1
   return asked[place]
end

function done(summary, latency)
   local errors = summary.errors
   io.write(string.format(
      '{"requests":%d,"bytes":%d,"duration_us":%d,"p50_us":%d,"p99_us":%d,"failed":%d}\n',
      summary.requests, summary.bytes, summary.duration, latency:percentile(50), latency:percentile(99),
      errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
