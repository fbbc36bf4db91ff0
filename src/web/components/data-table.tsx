import {
  createSortedRowModel,
  rowSortingFeature,
  sortFn_alphanumeric,
  tableFeatures,
  useTable,
  type ColumnDef,
} from '@tanstack/react-table'
import { useVirtualizer } from '@tanstack/react-virtual'
import { useRef } from 'react'

export const tableParts = tableFeatures({
  rowSortingFeature,
  sortedRowModel: createSortedRowModel(),
  sortFns: { alphanumeric: sortFn_alphanumeric },
})
export type Column<T> = ColumnDef<typeof tableParts, T & object, unknown>

/** More rows than this scroll in a box of their own, where only those in sight are in the page. */
const rowsUpTo = 60
const rowHeight = 41

/** A table whose columns sort by a click on their head. `columns` and `rows` have to be the same values while nothing changes. */
export function DataTable<T extends object>({
  columns,
  rows,
  label,
  rowKey,
}: {
  columns: Column<T>[]
  rows: T[]
  label: string
  rowKey: (row: T) => string
}) {
  const table = useTable({ features: tableParts, columns, data: rows, getRowId: rowKey })
  const sorted = table.getRowModel().rows
  const many = sorted.length > rowsUpTo
  const box = useRef<HTMLDivElement>(null)
  const list = useVirtualizer({
    count: sorted.length,
    getScrollElement: () => box.current,
    estimateSize: () => rowHeight,
    overscan: 10,
    enabled: many,
  })
  const items = many ? list.getVirtualItems() : null
  const shown = items ? items.map(({ index }) => sorted[index]!) : sorted
  const above = items?.[0]?.start ?? 0
  const below = items ? list.getTotalSize() - (items.at(-1)?.end ?? 0) : 0
  return (
    <div
      ref={box}
      className={`table-box ${many ? 'scrolls' : ''}`}
      tabIndex={many ? 0 : undefined}
      role={many ? 'region' : undefined}
      aria-label={many ? label : undefined}
    >
      <table className="table" aria-label={label} aria-rowcount={many ? sorted.length + 1 : undefined}>
        <thead>
          {table.getHeaderGroups().map((group) => (
            <tr key={group.id}>
              {group.headers.map((header) => {
                const direction = header.column.getIsSorted()
                const sortable = header.column.getCanSort()
                return (
                  <th
                    key={header.id}
                    aria-sort={direction === false ? undefined : direction === 'asc' ? 'ascending' : 'descending'}
                  >
                    {sortable ? (
                      <button type="button" onClick={header.column.getToggleSortingHandler()}>
                        <table.FlexRender header={header} />
                        {direction === false ? '' : direction === 'asc' ? ' ↑' : ' ↓'}
                      </button>
                    ) : (
                      <table.FlexRender header={header} />
                    )}
                  </th>
                )
              })}
            </tr>
          ))}
        </thead>
        <tbody>
          {above > 0 ? (
            <tr aria-hidden="true">
              <td className="gap" colSpan={columns.length} style={{ height: above }} />
            </tr>
          ) : null}
          {shown.map((row) => (
            <tr key={row.id}>
              {row.getAllCells().map((cell) => (
                <td key={cell.id}>
                  <table.FlexRender cell={cell} />
                </td>
              ))}
            </tr>
          ))}
          {below > 0 ? (
            <tr aria-hidden="true">
              <td className="gap" colSpan={columns.length} style={{ height: below }} />
            </tr>
          ) : null}
        </tbody>
      </table>
    </div>
  )
}
