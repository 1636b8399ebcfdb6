import Glibc
import SwanSystem

/// The address of this machine on which its peers reach it.
enum OwnAddress {
    /// The local address of a socket that is connected to `host`, in which no packet is sent; with
    /// GLOO_SOCKET_IFNAME, that interface's address.
    ///
    /// The name of a machine often resolves to its loopback address, so it is not used.
    static func facing(
        _ host: String,
        port: UInt16,
        interface: String?
    ) throws(SwanError) -> String {
        if let interface { return try address(ofInterface: interface) }
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_DGRAM.rawValue)
        var list: UnsafeMutablePointer<addrinfo>?
        let status = getaddrinfo(host, "\(port)", &hints, &list)
        guard status == 0 else {
            throw SwanError(
                .peerFailed,
                "\(host.printable(limit: 100)): \(String(cString: gai_strerror(status))); check MASTER_ADDR"
            )
        }
        defer { freeaddrinfo(list) }
        var next = list
        while let info = next?.pointee {
            if let address = localAddress(connectedTo: info) { return address }
            next = info.ai_next
        }
        throw SwanError(
            .peerFailed,
            "\(host.printable(limit: 100)): there is no route to this host; check MASTER_ADDR"
        )
    }

    private static func localAddress(connectedTo info: addrinfo) -> String? {
        let descriptor = socket(info.ai_family, Int32(SOCK_DGRAM.rawValue), 0)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        guard connect(descriptor, info.ai_addr, info.ai_addrlen) == 0 else { return nil }
        var address = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        return withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
                getsockname(descriptor, generic, &length) == 0 ? text(generic, length) : nil
            }
        }
    }

    private static func address(ofInterface name: String) throws(SwanError) -> String {
        var list: UnsafeMutablePointer<ifaddrs>?
        guard getifaddrs(&list) == 0 else {
            throw SwanError(.peerFailed, "cannot list the network interfaces")
        }
        defer { freeifaddrs(list) }
        var names: Set<String> = []
        var next = list
        while let entry = next?.pointee {
            defer { next = entry.ifa_next }
            let own = String(cString: entry.ifa_name)
            names.insert(own)
            guard own == name, let address = entry.ifa_addr else { continue }
            let family = Int32(address.pointee.sa_family)
            guard family == AF_INET || family == AF_INET6 else { continue }
            let size =
                family == AF_INET
                ? MemoryLayout<sockaddr_in>.size : MemoryLayout<sockaddr_in6>.size
            if let found = text(address, socklen_t(size)) { return found }
        }
        throw SwanError(
            .invalidRequest,
            "GLOO_SOCKET_IFNAME=\(name.printable(limit: 40)): no such interface with an address; "
                + "there are \(names.sorted().joined(separator: ", "))"
        )
    }

    private static func text(_ address: UnsafePointer<sockaddr>, _ length: socklen_t) -> String? {
        var host = [CChar](repeating: 0, count: Int(NI_MAXHOST))
        let status = getnameinfo(
            address,
            length,
            &host,
            socklen_t(host.count),
            nil,
            0,
            NI_NUMERICHOST
        )
        return status == 0
            ? String(decoding: host.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
            : nil
    }
}
