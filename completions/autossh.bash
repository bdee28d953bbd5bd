# Completions of autossh for bash, 3.2 or later. After those of bash-completion, where it is used:
#
#     source <(autossh --completion bash)

# autossh's own options are completed here, all else is ssh's and left to its completion.
_autossh()
{
    local -a words starts kept ours
    local word name i letters option= own=1 ended=
    COMPREPLY=()
    _autossh_words

    # In front of the destination there are options; kept are the numbers of the words that ssh would get.
    for ((i = 1; i < ${#words[@]} - 1; i++)); do
        word=${words[i]}
        if [[ ! $own ]]; then
            kept[${#kept[@]}]=$i
        elif [[ $option == ours ]]; then
            option=
        elif [[ $option == ssh ]]; then
            option= kept[${#kept[@]}]=$i
        elif [[ $word == -- ]]; then
            own=
        elif [[ $word == --* ]]; then
            name=${word%%=*}
            if [[ $word != *=* && $(_autossh_argument "$name") != none ]]; then option=ours; fi
        elif [[ $word == -?* ]]; then
            letters=${word#-}
            while [[ $letters == [!MBbcDEeFIiJLlmOoPpQRSWw]* ]]; do letters=${letters#?}; done
            if [[ $letters == M ]]; then option=ours name=; elif [[ $letters == ? ]]; then option=ssh; fi
            if [[ $letters != M* ]]; then kept[${#kept[@]}]=$i; fi
        else
            own= kept[${#kept[@]}]=$i
        fi
    done
    local cur=${words[${#words[@]} - 1]}

    if [[ $own && $option == ours ]]; then
        if [[ $name ]]; then _autossh_reply "$(_autossh_argument "$name")" "$cur"; fi
        return
    elif [[ $own && ! $option && $cur == --*=* ]]; then
        _autossh_reply "$(_autossh_argument "${cur%%=*}")" "${cur#*=}"
        if [[ $COMP_WORDBREAKS != *=* ]]; then
            for i in "${!COMPREPLY[@]}"; do COMPREPLY[i]=${cur%%=*}=${COMPREPLY[i]}; done
        fi
        return
    elif [[ $own && ! $option && $cur == -* ]]; then
        while read -r word; do ours[${#ours[@]}]=$word; done < <(compgen -W '-M -f -V
            --monitor --background --poll --first-poll --gate-time --max-start --max-lifetime --message --ssh-path
            --pid-file --log-file --log-level --debug --json-log --no-agent --status --doctor --completion --help
            --version' -- "$cur")
        if [[ $cur == --* ]]; then
            COMPREPLY=("${ours[@]}")
            return
        fi
    fi

    _autossh_as_ssh
    if ((${#ours[@]})); then COMPREPLY=("${COMPREPLY[@]}" "${ours[@]}"); fi
}

# What follows an option of ours.
_autossh_argument()
{
    case $1 in
        --ssh-path) echo command ;;
        --pid-file | --log-file) echo file ;;
        --completion) echo bash zsh fish ;;
        --log-level) echo 0 1 2 3 4 5 6 7 ;;
        --monitor | --poll | --first-poll | --gate-time | --max-start | --max-lifetime | --message) echo ;;
        *) echo none ;;
    esac
}

_autossh_reply()
{
    local word
    local -a how=(-W "$1")
    case $1 in
        none) return ;;
        command) if [[ $2 == */* ]]; then how=(-f); else how=(-c); fi ;;
        file) how=(-f) ;;
    esac
    if [[ ${how[0]} == -f ]]; then compopt -o filenames 2> /dev/null; fi
    while read -r word; do COMPREPLY[${#COMPREPLY[@]}]=$word; done < <(compgen "${how[@]}" -- "$2")
}

# The words up to the cursor as they were written, and where each begins in COMP_WORDS: the shell splits them at colons
# and equals signs too.
_autossh_words()
{
    local rest=${COMP_LINE:0:COMP_POINT} gap piece i
    for ((i = 0; i <= COMP_CWORD; i++)); do
        gap=${rest%%[![:space:]]*}
        rest=${rest#"$gap"}
        if ((i == COMP_CWORD)); then COMP_WORDS[i]=$rest; fi
        piece=${COMP_WORDS[i]}
        rest=${rest#"$piece"}
        if ((i == 0)) || [[ $gap ]]; then
            starts[${#starts[@]}]=$i
            words[${#words[@]}]=$piece
        else
            words[${#words[@]} - 1]=${words[${#words[@]} - 1]}$piece
        fi
    done
}

# Lets ssh's completion see the line without what is ours.
_autossh_as_ssh()
{
    local theirs= last=$((${#words[@]} - 1)) i j
    local -a pieces=(ssh)
    if declare -F _ssh > /dev/null; then theirs=_ssh; fi
    if declare -F _comp_cmd_ssh > /dev/null; then theirs=_comp_cmd_ssh; fi
    if [[ ! $theirs ]]; then
        _autossh_hosts
        return
    fi

    COMP_LINE=ssh
    for i in "${kept[@]}" "$last"; do
        COMP_LINE+=" ${words[i]}"
        for ((j = starts[i]; j < (i == last ? COMP_CWORD + 1 : starts[i + 1]); j++)); do
            pieces[${#pieces[@]}]=${COMP_WORDS[j]}
        done
    done
    COMP_POINT=${#COMP_LINE}
    COMP_WORDS=("${pieces[@]}")
    COMP_CWORD=$((${#pieces[@]} - 1))
    "$theirs" ssh "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
}

# Without bash-completion: the hosts that ssh has been told of.
_autossh_hosts()
{
    local user= line host
    local -a fields hosts
    if [[ $cur == -* ]]; then return; fi
    if [[ $cur == *@* ]]; then user=${cur%%@*}@; fi
    while read -r line; do
        read -ra fields <<< "${line//[=\"]/ }"
        if [[ ${fields[0]} == [Hh][Oo][Ss][Tt] ]]; then hosts=("${hosts[@]}" "${fields[@]:1}"); fi
    done < <(cat ~/.ssh/config 2> /dev/null)
    while read -r line _; do
        if [[ $line == [\|@\#]* ]]; then continue; fi
        read -ra fields <<< "${line//,/ }"
        for host in "${fields[@]}"; do
            host=${host#\[}
            hosts[${#hosts[@]}]=${host%%\]*}
        done
    done < <(cat ~/.ssh/known_hosts 2> /dev/null)
    for host in "${hosts[@]}"; do
        if [[ $host != *[*?!]* && $user$host == "$cur"* ]]; then COMPREPLY[${#COMPREPLY[@]}]=$user$host; fi
    done
}

# bash-completion's file for ssh takes autossh too. Once it is loaded it is not loaded again.
_autossh_after_ssh()
{
    local loader
    for loader in _comp_load __load_completion _completion_loader; do
        if declare -F _comp_cmd_ssh > /dev/null || declare -F _ssh > /dev/null; then break; fi
        if declare -F "$loader" > /dev/null; then "$loader" ssh; fi
    done
    complete -F _autossh autossh
}
_autossh_after_ssh
