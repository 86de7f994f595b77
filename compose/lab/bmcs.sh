#!/bin/bash
# The virtual rack's BMCs: one ipmi_sim for each folder of /bmcs, which starts and stops its machine through chassis.sh.
# A folder holds machine.env and password; the console, the router's log and the pid of the machine come beside them.
set -uo pipefail

# A processor temperature: full sensor record (IPMI 2.0 section 43.1), thresholds 112, 144 and 160 degrees.
RECORD='01 00 51 01 33 20 00 01 03 01 00 68 01 01 80 72 80 72 3f 3f 00 01 00 00 01 00 00 00 00 00 07 50 64 14 ff 00
 a0 90 70 00 00 00 02 02 00 00 00 c8 43 50 55 20 54 65 6d 70'

write_config() {
    local dir=$1 record
    record=$(printf '0x%s ' $RECORD)
    . "$dir/machine.env"
    cat >"$dir/lan.conf" <<END
name "$(basename "$dir")"
set_working_mc 0x20
startlan 1
  addr $BMC_ADDRESS $BMC_PORT
  priv_limit admin
  allowed_auths_callback none md2 md5 straight
  allowed_auths_user none md2 md5 straight
  allowed_auths_operator none md2 md5 straight
  allowed_auths_admin none md2 md5 straight
  guid ${LAB_UUID//-/}
endlan
chassis_control "/usr/local/bin/chassis.sh $dir"
sol "tcp:$LAB_CONSOLE" 115200 history=16000
user 2 true "$BMC_USER" "$(<"$dir/password")" admin 10 none md2 md5 straight
END
    chmod 600 "$dir/lan.conf"
    echo 38 >"$dir/temperature"
    cat >"$dir/sim.emu" <<END
mc_setbmc 0x20
mc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr
sel_enable 0x20 1000 0x0a
sensor_add 0x20 0 1 0x01 0x01 poll 1000 file "$dir/temperature"
sensor_set_threshold 0x20 0 1 settable 111000 0xa0 0x90 0x70 00 00 00
sensor_set_event_support 0x20 0 1 enable scanning per-state 000111111000000 000111111000000 000111111000000 000111111000000
main_sdr_add 0x20 $record
mc_enable 0x20
END
}

SIMS=()
finish() {
    trap '' TERM INT
    kill "${SIMS[@]}" 2>/dev/null
    local dir
    for dir in /bmcs/*/; do chassis.sh "${dir%/}" set power 0; done
    exit 0
}
trap finish TERM INT

for dir in /bmcs/*/; do
    dir=${dir%/}
    write_config "$dir"
    # the simulator keeps its users there, and they would win over lan.conf
    rm -rf "$dir/state" "$dir/pid" "$dir/next" && mkdir "$dir/state"
    (cd "$dir" && exec ipmi_sim -c lan.conf -f sim.emu -s state -n </dev/null >sim.log 2>&1) &
    SIMS+=($!)
done
echo "lab: ${#SIMS[@]} BMCs"
while :; do wait -n "${SIMS[@]}" || break; done
finish
