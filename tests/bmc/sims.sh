#!/bin/bash
# One ipmi_sim for each folder of /bmcs; its pid goes to the folder, so that a test can stop and restart it.
for dir in /bmcs/*/; do
    (cd "$dir" && mkdir -p state && exec ipmi_sim -c lan.conf -f sim.emu -s state -n </dev/null >log 2>&1) &
    echo $! >"$dir/pid"
done
touch /bmcs/.ready
wait
