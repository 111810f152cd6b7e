-- What a run came to, as one line of JSON; and, if asked, another request each time.
-- Arguments: nothing; or a file of tokens and what to do at its end, "cycle" or "once"; or "paths"
-- and how many of /more/0/x, /more/1/x ... to ask for.

local requests, next_request, at_the_end = {}, 0, nil

function init(args)
   if not args[1] then
      return
   end
   if args[1] == "paths" then
      -- One here, one there: neighbours would be found in the processor's cache. And as many
      -- requests whatever the count, since ours are in that cache too.
      local count, stride = tonumber(args[2]), 7919
      for number = 1, 10000 do
         requests[number] = wrk.format(nil, "/more/" .. number * stride % count .. "/x")
      end
   else
      at_the_end = args[2]
      for token in io.lines(args[1]) do
         wrk.headers["Authorization"] = "Bearer " .. token
         requests[#requests + 1] = wrk.format(nil, nil)
      end
   end
   request = function()
      if next_request == #requests then
         if at_the_end == "once" then
            wrk.thread:stop()
            -- wrk itself sleeps on; whoever started it is told to wake it.
            io.stderr:write("no more tokens\n")
            return requests[next_request]
         end
         next_request = 0
      end
      next_request = next_request + 1
      return requests[next_request]
   end
end

function done(summary, latency)
   local errors = summary.errors
   io.write(string.format(
      '\n{"requests": %d, "seconds": %f, "refused": %d, "broken": %d, '
         .. '"p50": %f, "p99": %f, "p999": %f}\n',
      summary.requests, summary.duration / 1e6, errors.status,
      errors.connect + errors.read + errors.write + errors.timeout,
      latency:percentile(50), latency:percentile(99), latency:percentile(99.9)
   ))
end
