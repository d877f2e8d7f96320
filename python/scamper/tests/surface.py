"""The names that scripts know: every class of the module, and what each has."""

SURFACE = {
    "ScamperAddr": """
        packed __init__ __lt__ __eq__ __str__ __hash__ __getstate__ __setstate__ is_linklocal is_rfc1918
        is_unicast is_6to4 is_ipv4 is_ipv6 is_reserved
    """,
    "ScamperCycle": """
        id start stop hostname __lt__ __eq__
    """,
    "ScamperList": """
        id name descr monitor __lt__ __eq__
    """,
    "ScamperVp": """
        name shortname tags asn4 ipv4 asn6 ipv6 loc iata cc st place __lt__ __eq__ __str__ __hash__
    """,
    "ScamperTask": """
        __lt__ __eq__ __str__ halt
    """,
    "ScamperInst": """
        name shortname tags asn4 ipv4 asn6 ipv6 loc iata cc st place taskc resultc __lt__ __eq__ __str__
        __hash__ done is_done is_eof
    """,
    "ScamperInstError": """
        __init__ inst
    """,
    "ScamperMux": """
        __lt__ __eq__ __str__ __hash__ vps
    """,
    "ScamperIcmpMplsLabelStackEntry": """
        label exp s ttl __init__
    """,
    "ScamperIcmpExt": """
        class_num c_type data_len data mpls_count __lt__ __eq__ is_mpls mpls_lses mpls_lse mpls_label mpls_ttl
        mpls_exp mpls_s
    """,
    "ScamperIcmpExts": """
        ext_count mpls __lt__ __eq__ ext exts
    """,
    "ScamperDealiasProbedef": """
        src dst ttl size sport dport icmp_id icmp_sum __init__ is_udp is_icmp is_tcp
    """,
    "ScamperDealiasReply": """
        src rx ttl size tcp_flags icmp_type icmp_code icmp_q_ttl ipid icmp_exts is_tcp is_icmp is_icmp_ttl_exp
        is_icmp_unreach is_icmp_unreach_port is_icmp_echo_reply is_from_target
    """,
    "ScamperDealiasProbe": """
        probedef ipid seq tx reply_count reply replies
    """,
    "ScamperDealiasMidardiscRound": """
        start begin end __init__
    """,
    "ScamperDealias": """
        inst list cycle userid start startat wait_probe wait_round wait_timeout errmsg probedef_count
        probe_count to_json to_text is_ally is_mercator is_prefixscan is_radargun is_bump is_midarest
        is_midardisc has_aliases aliases probedef probedefs probe probes
    """,
    "ScamperHostType": """
        A NS CNAME SOA PTR MX TXT AAAA OPT DS SSHFP RRSIG NSEC DNSKEY SVCB HTTPS
    """,
    "ScamperHostStop": """
        NoReason Completed Timeout Halted Error
    """,
    "ScamperHostOPTElem": """
        code_num code data
    """,
    "ScamperHostOPT": """
        elemc __iter__ elem
    """,
    "ScamperHostMX": """
        pref exch
    """,
    "ScamperHostSOA": """
        mname rname serial refresh retry expire minimum
    """,
    "ScamperHostSVCBParam": """
        key_num key val
    """,
    "ScamperHostSVCB": """
        target priority paramc __iter__ param
    """,
    "ScamperHostTXT": """
        strc __iter__ str
    """,
    "ScamperHostRR": """
        rclass rtype ttl name addr ns cname ptr mx soa txt opt svcb https udpsize edns_version edns_do
    """,
    "ScamperHostQuery": """
        tx rx rtt rcode_num rcode extended_rcode_num extended_rcode flags id ancount nscount arcount udpsize
        edns_version edns_do an ns ar
    """,
    "ScamperHost": """
        inst list cycle src dst userid start wait_timeout errmsg stop_reason stop_reason_str qtype_num qtype
        qclass qname mqtypes ecs rcode_num rcode extended_rcode_num extended_rcode tx rx rtt udpsize
        edns_version edns_do ancount nscount arcount to_json ans an nss ns ars ar ans_addrs ans_nses ans_ptrs
        ans_txts ans_mxes
    """,
    "ScamperHttpStop": """
        NoReason Halted NoConnection Completed Error Timeout Insecure
    """,
    "ScamperHttpEchStatus": """
        NoStatus Unknown Failed Success Grease GreaseEch Backend BadCall NotTried BadName NotConfigured
        FailedEch FailedEchBadName
    """,
    "ScamperHttpBuf": """
        timestamp dir_str type_str payload is_tx is_rx is_tls is_hdr is_data
    """,
    "ScamperHttp": """
        inst list cycle userid errmsg start stop_reason stop_reason_str src dst sport dport maxtime hsrtt url
        ech_config_list status_code response response_hdr response_hdrs transmit_hdr transmit_hdrs buf_count
        ech_retry_config ech_status ech_outer_sni response_hdr_byname transmit_hdr_byname buf bufs
    """,
    "ScamperNeighbourdisc": """
        inst to_json
    """,
    "ScamperOwampResult": """
        NoReason Completed Halted Error NoConn NotAccepted NoMode Timeout
    """,
    "ScamperOwampSchedType": """
        Fixed Exponential
    """,
    "ScamperOwampSched": """
        value type type_str
    """,
    "ScamperOwampRx": """
        stamp ttl dscp
    """,
    "ScamperOwampTx": """
        sched stamp seq rx_count rx rxs
    """,
    "ScamperOwamp": """
        inst list cycle src dst dport userid start startat wait_timeout errmsg result result_str attempts dscp
        direction_str probe_size ttl udp_sport udp_dport sched_count tx_count to_json sched scheds tx txs
    """,
    "ScamperPingStop": """
        NoReason Completed Error Halted InProgress
    """,
    "ScamperPingReplyIPTS": """
        __iter__ has_addrs addrs timestamps
    """,
    "ScamperPingReply": """
        src tx rx rtt attempt probe_ipid probe_sport reply_proto reply_ttl reply_tos reply_size reply_ipid
        icmp_type icmp_code icmp_nhmtu icmp_tso icmp_tsr icmp_tst tcp_flags tcp_mss ifname ip_rr ip_ts
        is_from_target is_icmp is_tcp is_udp is_icmp_echo_reply is_icmp_unreach is_icmp_unreach_port
        is_icmp_ttl_exp is_icmp_tsreply is_icmp_ptb
    """,
    "ScamperPing": """
        inst list cycle src dst rtr userid start errmsg stop_reason stop_reason_str attempts probe_size
        payload probe_ttl probe_tos probe_sport probe_dport probe_icmp_sum probe_tcp_seq probe_tcp_ack
        probe_tcp_mss probe_tsaddrs stop_count reply_pmtu probe_count wait_probe wait_timeout nreplies ndups
        nloss nerrs min_rtt max_rtt avg_rtt stddev_rtt __iter__ to_json to_text is_icmp is_icmp_time is_tcp
        is_tcp_ack_sport is_udp is_vary_sport is_vary_dport reply replies
    """,
    "ScamperSniffStop": """
        NoReason Error LimitTime LimitPktC Halted
    """,
    "ScamperSniffPkt": """
        rx data
    """,
    "ScamperSniff": """
        inst list cycle stop_reason userid errmsg src start finish limit_pkt_count limit_time icmp_id
        pkt_count __iter__ pkt
    """,
    "ScamperSting": """
        inst
    """,
    "ScamperTbitPkt": """
        timestamp data is_tx is_rx
    """,
    "ScamperTbit": """
        inst list cycle src dst userid start errmsg result pkt_count client_mss client_wscale client_ipttl
        __iter__ to_json to_text
    """,
    "ScamperTraceStop": """
        NoReason Completed Unreach Icmp Loop GapLimit Error HopLimit GSS Halted InProgress
    """,
    "ScamperTraceHop": """
        src name tx rtt attempt probe_ttl probe_size probe_ipid reply_ttl reply_tos icmp_type icmp_code
        reply_size reply_ipid icmp_nhmtu icmp_q_ttl icmp_q_tos icmp_q_ipl icmp_q_ipid tcp_flags icmp_exts
        is_tcp is_icmp is_icmp_q is_icmp_unreach_port is_icmp_echo_reply is_icmp_ttl_exp is_icmp_ptb
    """,
    "ScamperTracePmtudNote": """
        type_str nhmtu distance hop
    """,
    "ScamperTracePmtud": """
        path_mtu if_mtu out_mtu notes
    """,
    "ScamperTrace": """
        inst list cycle userid start errmsg stop_reason stop_reason_str src dst rtr hop_count stop_hop
        attempts hoplimit squeries gaplimit gapaction firsthop tos wait_probe wait_timeout confidence
        probe_size payload probe_sport probe_dport probe_icmp_sum offset probe_count pmtud to_json to_text hop
        hops addrs is_udp is_tcp is_icmp is_stop_noreason is_stop_completed is_stop_unreach is_stop_icmp
        is_stop_loop is_stop_gaplimit is_stop_error is_stop_hoplimit is_stop_gss is_stop_halted
    """,
    "ScamperTracelbMethod": """
        UdpDport IcmpEcho UdpSport TcpSport TcpAckSport
    """,
    "ScamperTracelbReply": """
        src rx ipid ttl icmp_type icmp_code icmp_q_ttl icmp_q_tos tcp_flags icmp_exts
    """,
    "ScamperTracelbProbe": """
        tx flowid ttl attempt reply_count reply
    """,
    "ScamperTracelbProbeset": """
        probe_count __iter__ probe
    """,
    "ScamperTracelbLink": """
        near far length probeset
    """,
    "ScamperTracelbNode": """
        src name icmp_q_ttl link_count link links
    """,
    "ScamperTracelb": """
        list cycle inst method userid start errmsg src dst rtr node_count link_count attempts gaplimit
        firsthop tos wait_probe wait_timeout confidence probe_count probe_size probe_sport probe_dport
        probe_icmp_id to_json to_text node nodes link links is_udp is_tcp is_icmp
    """,
    "ScamperUdpprobeStop": """
        NoReason Completed Halted Error
    """,
    "ScamperUdpprobeReply": """
        rx payload ifname
    """,
    "ScamperUdpprobeProbe": """
        tx sport reply_count __iter__ reply
    """,
    "ScamperUdpprobe": """
        inst list cycle userid start errmsg stop_reason stop_reason_str src dst sport dport attempts
        stop_count wait_probe wait_timeout payload probe_sent __iter__ to_json probe replies
    """,
    "ScamperFile": """
        filetype filename __init__ __enter__ __exit__ __iter__ __next__ filter_types close read write is_read
        is_write
    """,
    "ScamperCtrl": """
        instc taskc __init__ __enter__ __exit__ add_unix add_inet add_remote add_remote_dir add_mux add_vps
        vps remove is_done done instances exceptions poll responses do_ally do_dns do_http do_mercator
        do_midardisc do_midarest do_owamp do_ping do_prefixscan do_radargun do_sniff do_tbit do_trace
        do_tracelb do_udpprobe morecb eofcb param outfile
    """,
}
