import CLMDB
import Foundation
import SwanSystem

/// A database of LMDB: a memory-mapped file of keys and values.
final class KeyValueFile: @unchecked Sendable {
    private let environment: OpaquePointer
    private let table: MDB_dbi
    private let path: String
    private let lock = NSLock()

    /// The size of a new map; it is doubled as needed, and takes only the space of what is written.
    private static let initialSize = 64 << 20

    /// Opens a database for reading.
    ///
    /// Takes no lock: a finished dataset is not changed any more, and may be on a read-only disk.
    convenience init(reading path: String) throws(SwanError) {
        var isFolder: ObjCBool = false
        guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) else {
            throw SwanError(.noSuchFile, "\(path): does not exist")
        }
        let file = isFolder.boolValue ? "\(path)/data.mdb" : path
        guard FileManager.default.fileExists(atPath: file) else {
            throw SwanError(.invalidFile, "\(path): is not a database of LMDB: it has no data.mdb")
        }
        var flags = UInt32(MDB_RDONLY) | UInt32(MDB_NOLOCK) | UInt32(MDB_NORDAHEAD)
        if !isFolder.boolValue { flags |= UInt32(MDB_NOSUBDIR) }
        try self.init(path, flags: flags, size: 0)
        try requireWhole(file)
    }

    /// Throws if the file ends before its last page, which would end the process when it is read.
    private func requireWhole(_ file: String) throws(SwanError) {
        var (info, statistics, status) = (MDB_envinfo(), MDB_stat(), stat())
        try check(mdb_env_info(environment, &info))
        try check(mdb_env_stat(environment, &statistics))
        let (size, overflow) = (info.me_last_pgno + 1)
            .multipliedReportingOverflow(by: Int(statistics.ms_psize))
        guard !overflow, stat(file, &status) == 0, Int(status.st_size) >= size else {
            throw SwanError(
                .invalidFile,
                "\(path): is cut short: it should have at least \(size) bytes; copy it again"
            )
        }
    }

    /// Creates a database in an existing empty folder.
    convenience init(writing folder: String) throws(SwanError) {
        // Nobody else writes there, and the folder is renamed once it is complete.
        let flags = UInt32(MDB_NOLOCK) | UInt32(MDB_NOSYNC)
        try self.init(folder, flags: flags, size: Self.initialSize)
    }

    private init(_ path: String, flags: UInt32, size: Int) throws(SwanError) {
        self.path = path
        var environment: OpaquePointer?
        try Self.check(mdb_env_create(&environment), path)
        guard let environment else { throw SwanError(.outOfMemory, "\(path): no memory") }
        self.environment = environment
        do throws(SwanError) {
            if size > 0 { try Self.check(mdb_env_set_mapsize(environment, size), path) }
            try Self.check(mdb_env_open(environment, path, flags, 0o666), path)
            table = try Self.openTable(environment, flags & UInt32(MDB_RDONLY), path)
        } catch {
            mdb_env_close(environment)
            throw error
        }
    }

    deinit { mdb_env_close(environment) }

    private static func openTable(
        _ environment: OpaquePointer,
        _ flags: UInt32,
        _ path: String
    ) throws(SwanError) -> MDB_dbi {
        var transaction: OpaquePointer?
        try check(mdb_txn_begin(environment, nil, flags, &transaction), path)
        var table: MDB_dbi = 0
        let number = mdb_dbi_open(transaction, nil, 0, &table)
        guard number == MDB_SUCCESS else {
            mdb_txn_abort(transaction)
            throw failure(number, path)
        }
        try check(mdb_txn_commit(transaction), path)
        return table
    }

    // MARK: - Reading

    /// Calls `body` with the bytes of a key, which are valid only during the call; nil if there are
    /// none.
    func read<Result>(
        _ key: String,
        _ body: (UnsafeRawBufferPointer) throws(SwanError) -> Result
    ) throws(SwanError) -> Result? {
        var transaction: OpaquePointer?
        try check(mdb_txn_begin(environment, nil, UInt32(MDB_RDONLY), &transaction))
        defer { mdb_txn_abort(transaction) }
        var value = MDB_val()
        let number = Self.withBytes(Array(key.utf8)) { bytes in
            var name = bytes
            return mdb_get(transaction, table, &name, &value)
        }
        guard number != MDB_NOTFOUND else { return nil }
        try check(number)
        return try body(UnsafeRawBufferPointer(start: value.mv_data, count: value.mv_size))
    }

    /// The text of a key; nil if there is none.
    func text(_ key: String) throws(SwanError) -> String? {
        try read(key) { String(decoding: $0, as: UTF8.self) }
    }

    // MARK: - Writing

    /// Writes values in one transaction.
    func write(_ values: [(key: String, bytes: [UInt8])]) throws(SwanError) {
        lock.lock()
        defer { lock.unlock() }
        while true {
            let number = transact(values)
            guard number == MDB_MAP_FULL else { return try check(number) }
            var info = MDB_envinfo()
            try check(mdb_env_info(environment, &info))
            try check(mdb_env_set_mapsize(environment, 2 * info.me_mapsize))
        }
    }

    private func transact(_ values: [(key: String, bytes: [UInt8])]) -> Int32 {
        var transaction: OpaquePointer?
        var number = mdb_txn_begin(environment, nil, 0, &transaction)
        guard number == MDB_SUCCESS else { return number }
        for value in values {
            number = Self.withBytes(Array(value.key.utf8)) { key in
                Self.withBytes(value.bytes) { bytes in
                    var (key, bytes) = (key, bytes)
                    return mdb_put(transaction, table, &key, &bytes, 0)
                }
            }
            guard number == MDB_SUCCESS else {
                mdb_txn_abort(transaction)
                return number
            }
        }
        return mdb_txn_commit(transaction)
    }

    /// Writes everything to disk.
    func sync() throws(SwanError) { try check(mdb_env_sync(environment, 1)) }

    private static func withBytes(_ bytes: [UInt8], _ body: (MDB_val) -> Int32) -> Int32 {
        bytes.withUnsafeBytes { bytes in
            // LMDB does not change what it is given to read.
            let start = UnsafeMutableRawPointer(mutating: bytes.baseAddress)
            return body(MDB_val(mv_size: bytes.count, mv_data: start))
        }
    }

    // MARK: - Errors

    private func check(_ number: Int32) throws(SwanError) { try Self.check(number, path) }

    private static func check(_ number: Int32, _ path: String) throws(SwanError) {
        guard number == MDB_SUCCESS else { throw failure(number, path) }
    }

    private static func failure(_ number: Int32, _ path: String) -> SwanError {
        let reason = String(cString: mdb_strerror(number))
        let damaged = [MDB_INVALID, MDB_CORRUPTED, MDB_VERSION_MISMATCH, MDB_PAGE_NOTFOUND]
        if damaged.contains(number) {
            return SwanError(.invalidFile, "\(path): is not a database of LMDB (\(reason))")
        }
        let isFull = [ENOSPC, EDQUOT].contains(number)
        return SwanError(isFull ? .diskFull : .unreadable, "\(path): \(reason)")
    }
}
