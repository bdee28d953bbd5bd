# Completions of autossh for fish: a file autossh.fish in ~/.config/fish/completions, or
#
#     autossh --completion fish | source

# autossh's own options stand in front of the destination and of the first --; whether that is where the cursor is. The
# status is 2 if it is at the argument of such an option. Prints the words before the cursor that ssh would get.
function __autossh_in_front
    set -l tokens (commandline -opc)
    set -e tokens[1]
    set -l own yes
    set -l option none
    for token in $tokens
        if test $own = no
            echo -- $token
            continue
        end
        switch "$option $token"
            case 'ours *'
                set option none
            case 'ssh *'
                set option none
                echo -- $token
            case 'none --'
                set own no
            case 'none --*=*'
            case "none --"{monitor,poll,first-poll,gate-time,max-start,max-lifetime,message,ssh-path} \
                "none --"{pid-file,log-file,log-level,completion}
                set option ours
            case 'none --*'
            case 'none -?*'
                set -l found (string match -r '^-[^MBbcDEeFIiJLlmOoPpQRSWw]*(M?)(.?)(.*)' -- $token)
                if test -n "$found[2]"
                    test -z "$found[3]"; and set option ours
                else
                    test -n "$found[3]" -a -z "$found[4]"; and set option ssh
                    echo -- $token
                end
            case '*'
                set own no
                echo -- $token
        end
    end
    test $option = ours; and return 2
    test $own = yes
end

# An argument that begins with a hyphen is no option.
function __autossh_own
    __autossh_in_front >/dev/null
    set -l place $status
    switch "$place "(commandline -ct)
        case '0 *'
            return 0
        case '2 -*' '1 *'
            return 1
    end
end

# All else is ssh's, which sees the line without what is autossh's. Letters that mean something else to autossh are left out.
function __autossh_as_ssh
    set -l words (__autossh_in_front)
    set -l place $status
    test $place = 2; and return
    set -l ours '^$'
    test $place = 0; and set ours '^-[MfV](\t|$)'
    complete -C "ssh $(string escape -- $words | string join ' ') $(commandline -ct)" | string match -rv -- $ours
end

complete -c autossh -f -a '(__autossh_as_ssh)'
complete -c autossh -n __autossh_own -s M -l monitor -x -d 'Port of the heartbeat'
complete -c autossh -n __autossh_own -s f -l background -d 'Go to the background before ssh starts'
complete -c autossh -n __autossh_own -l poll -x -d 'Seconds between two beats'
complete -c autossh -n __autossh_own -l first-poll -x -d 'Seconds to the first beat'
complete -c autossh -n __autossh_own -l gate-time -x -d 'Seconds before which the first ssh must not exit'
complete -c autossh -n __autossh_own -l max-start -x -d 'How often to start ssh at most'
complete -c autossh -n __autossh_own -l max-lifetime -x -d 'Seconds after which to end'
complete -c autossh -n __autossh_own -l message -x -d 'Up to 64 bytes added to each beat'
complete -c autossh -n __autossh_own -l ssh-path -r -F -d 'The ssh to start'
complete -c autossh -n __autossh_own -l pid-file -r -F -d 'Write the process id there'
complete -c autossh -n __autossh_own -l log-file -r -F -d 'Append the log there'
complete -c autossh -n __autossh_own -l log-level -x -a '0 1 2 3 4 5 6 7' -d '7 says most'
complete -c autossh -n __autossh_own -l debug -d 'Log level 7, and to stderr as well'
complete -c autossh -n __autossh_own -l json-log -d 'Log one JSON object a line'
complete -c autossh -n __autossh_own -l no-agent -d 'Start no ssh-agent'
complete -c autossh -n __autossh_own -l status -d 'Watch the tunnel live in this terminal'
complete -c autossh -n __autossh_own -l doctor -d 'Tell what would go wrong with this destination'
complete -c autossh -n __autossh_own -l completion -x -a 'bash zsh fish' -d 'Print the completions of a shell'
complete -c autossh -n __autossh_own -l help -d 'Print the help'
complete -c autossh -n __autossh_own -s V -l version -d 'Print name and version'
